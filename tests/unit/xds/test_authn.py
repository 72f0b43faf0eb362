"""Who is at the other end, and whether it may be the node that it says it is."""

from __future__ import annotations

import pytest

from mizzen.identity import DEFAULT_TRUST_DOMAIN, SpiffeId
from mizzen.model.proxy import NodeInfo, ProxyKind
from mizzen_xds import Authenticator, Credentials, ForbiddenError, UnauthenticatedError
from mizzen_xds.authn import PodIdentity
from mizzen_xds.tls import ServerIdentity, spiffe_uris
from tests.support.control_plane import Tokens
from tests.support.proxy_model import at_once

_ME = SpiffeId.parse("spiffe://cluster.local/ns/shop/sa/web")


def _node(namespace: str = "shop", account: str = "") -> NodeInfo:
    return NodeInfo(
        id="sidecar~10.0.0.1~app.shop~x",
        kind=ProxyKind.SIDECAR,
        ip="10.0.0.1",
        name="app",
        namespace=namespace,
        service_account=account,
    )


def _authenticator(tokens: Tokens | None = None) -> Authenticator:
    return Authenticator(trust_domain=DEFAULT_TRUST_DOMAIN, tokens=tokens)


def test_a_certificate_is_believed_before_a_token() -> None:
    """It was verified in the handshake."""
    shown = Credentials(uris=(str(_ME),), token="whatever")
    assert at_once(_authenticator().identify(shown)) == _ME


@pytest.mark.parametrize(
    ("uris", "words"),
    [
        ((str(_ME), str(_ME)), "exactly one URI"),
        (("spiffe://cluster.local/somebody",), "not a workload"),
        (("spiffe://elsewhere/ns/shop/sa/web",), "another trust domain"),
    ],
)
def test_a_certificate_that_names_no_member_proves_nothing(
    uris: tuple[str, ...], words: str
) -> None:
    """Though the mesh's roots have signed it."""
    with pytest.raises(UnauthenticatedError, match=words):
        at_once(_authenticator().identify(Credentials(uris=uris)))


def test_a_token_is_reviewed() -> None:
    """By whoever knows tokens; without one, tokens are not taken."""
    tokens = Tokens({"secret": _ME})
    assert at_once(_authenticator(tokens).identify(Credentials(token="secret"))) == _ME
    with pytest.raises(UnauthenticatedError, match="not valid"):
        at_once(_authenticator(tokens).identify(Credentials(token="other")))
    with pytest.raises(UnauthenticatedError, match="not taken"):
        at_once(_authenticator().identify(Credentials(token="secret")))


def test_a_token_may_be_reviewed_elsewhere() -> None:
    """A cluster's API is asked over the network."""

    class Remote:
        async def identity(self, token: str) -> SpiffeId | None:
            return _ME if token == "secret" else None

    authenticator = Authenticator(trust_domain=DEFAULT_TRUST_DOMAIN, tokens=Remote())
    assert at_once(authenticator.identify(Credentials(token="secret"))) == _ME


def test_nothing_shown_is_enough_on_loopback_only() -> None:
    """There a node is who it says it is."""
    assert at_once(_authenticator().identify(Credentials(is_local=True))) is None
    assert _authenticator().authorise(None, _node(account="web")) == _ME
    assert _authenticator().authorise(None, _node()).service_account == "default"
    with pytest.raises(UnauthenticatedError, match="neither"):
        at_once(_authenticator().identify(Credentials()))


def test_a_node_lies_within_its_identity() -> None:
    """In its namespace and, where it names an account, under that one."""
    authenticator = _authenticator()
    assert authenticator.authorise(_ME, _node()) == _ME
    assert authenticator.authorise(_ME, _node(account="web")) == _ME
    with pytest.raises(ForbiddenError, match="namespace bank"):
        authenticator.authorise(_ME, _node("bank"))
    with pytest.raises(ForbiddenError, match="account root"):
        authenticator.authorise(_ME, _node(account="root"))


def test_private_things_are_not_shown() -> None:
    """Neither tokens nor keys stand in what is logged."""
    identity = ServerIdentity(key_pem=b"KEY", chain_pem=b"CHAIN", roots_pem=b"ROOTS")
    assert "KEY" not in repr(identity)
    assert "secret" not in repr(Credentials(token="secret"))


def test_only_uris_of_a_certificate_are_names_of_workloads() -> None:
    """DNS names are not, and a connection without a certificate has none."""
    names = (("DNS", "web.shop"), ("URI", str(_ME)))
    assert spiffe_uris({"subjectAltName": names}) == (str(_ME),)
    assert spiffe_uris({}) == spiffe_uris(None) == ()


def _bound(pod: str) -> PodIdentity:
    return PodIdentity(identity=_ME, pod=pod)


def test_what_one_pod_alone_was_given_proves_that_pod_only() -> None:
    """Another of the same account shows its own."""
    authenticator = _authenticator()
    assert authenticator.authorise(_bound("app"), _node()) == _ME
    with pytest.raises(ForbiddenError, match="token of pod other"):
        authenticator.authorise(_bound("other"), _node())


@pytest.mark.parametrize("account", [None, "web", "bank"])
def test_a_pod_that_is_known_is_of_its_own_account(account: str | None) -> None:
    """One that is not known yet is believed: its proof is of the account."""
    authenticator = Authenticator(
        trust_domain=DEFAULT_TRUST_DOMAIN, account_of=lambda _namespace, _pod: account
    )
    if account == "bank":
        with pytest.raises(ForbiddenError, match="which is of bank"):
            authenticator.authorise(_ME, _node())
    else:
        assert authenticator.authorise(_ME, _node()) == _ME
