"""docs/reference/: a page for each kind, as fresh as the models."""

from __future__ import annotations

from mizzen.api.kinds import KINDS
from tests.support.reference import kinds, pages, stale


def test_the_pages_are_what_the_models_say() -> None:
    """Written anew by ``make reference``; a page of a kind that is gone goes too."""
    assert list(stale()) == []


def test_every_kind_of_istios_has_its_page() -> None:
    """And what the mesh takes from elsewhere: Ingress and the mesh's settings."""
    istios = {kind.name for kind in KINDS if "istio.io" in kind.group}
    assert istios | {"Ingress", "MeshConfig"} == {page.name for page in kinds()}


def test_no_field_is_of_an_unknown_type() -> None:
    """What a page cannot put into words is a mistake of the page."""
    nameless = [name for name, text in pages().items() if "|  |" in text]
    assert nameless == []
