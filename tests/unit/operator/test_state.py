"""The state folder is its owner's alone, and a token says whose a proxy is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mizzen.identity import SpiffeId, TrustDomain
from mizzen_operator.state import StateError, StateFolder, write
from mizzen_operator.tokens import TokenFolder

if TYPE_CHECKING:
    from pathlib import Path

TD = TrustDomain("cluster.local")


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    """An empty state folder."""
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    return folder


def test_a_prepared_folder_is_private_and_not_committed(state: StateFolder) -> None:
    assert state.root.stat().st_mode & 0o077 == 0
    assert state.tokens.stat().st_mode & 0o077 == 0
    assert (state.root / ".gitignore").read_text() == "*\n"
    state.prepare()


def test_a_folder_that_others_can_read_is_refused(state: StateFolder) -> None:
    state.tokens.chmod(0o755)
    with pytest.raises(StateError, match="chmod 700"):
        state.prepare()


def test_a_folder_that_cannot_be_made_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="--state"):
        StateFolder(tmp_path / "file" / "state").prepare()


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken" / "x").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        write(tmp_path / "taken", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_token_says_whose_it_is(state: StateFolder) -> None:
    tokens = TokenFolder(state.tokens, TD)
    tokens.ensure("shop", "cart.v2")
    text = (state.tokens / "shop.cart.v2").read_text()
    expected = SpiffeId(trust_domain=TD, namespace="shop", service_account="cart.v2")
    assert tokens.identity(text) == expected
    assert tokens.identity(text) == expected
    assert tokens.identity(text + "x") is None


def test_a_token_that_exists_is_left_alone(state: StateFolder) -> None:
    (state.tokens / "shop.cart").write_text("a-token-made-by-somebody\n")
    tokens = TokenFolder(state.tokens, TD)
    tokens.ensure("shop", "cart")
    assert tokens.identity("a-token-made-by-somebody") is not None


def test_a_token_that_is_withdrawn_or_replaced_counts_no_more(state: StateFolder) -> None:
    tokens = TokenFolder(state.tokens, TD)
    tokens.ensure("shop", "cart")
    path = state.tokens / "shop.cart"
    old = path.read_text()
    assert tokens.identity(old)
    path.write_text("another-token-for-it")
    assert tokens.identity(old) is None
    assert tokens.identity("another-token-for-it")
    path.unlink()
    assert tokens.identity("another-token-for-it") is None


def test_an_empty_or_unreadable_file_is_nobodys_token(state: StateFolder) -> None:
    (state.tokens / "shop.cart").write_text("")
    (state.tokens / "shop.odd").write_bytes(b"\xff" * 40)
    (state.tokens / "README").write_text("not-a-token-but-long-enough")
    tokens = TokenFolder(state.tokens, TD)
    assert tokens.identity("") is None
    assert tokens.identity("not-a-token-but-long-enough") is None
