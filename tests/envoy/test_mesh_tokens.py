"""RequestAuthentications as callers meet them: tokens of every kind, and policies that ask for claims.

A connection keeps the policies under which it was made, so here proxies make one for each request.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import pytest

from mizzen.render.tls import SYSTEM_ROOTS
from mizzen_cli.demo.realm import Command
from tests.support import name_server
from tests.support.certificates import TestAuthority
from tests.support.live_mesh import HTTP_PORT, LiveMesh, Reply, eventually, pod, pod_ip, service
from tests.support.small_mesh import istio
from tests.support.tokens import ISSUER, key_set, token

if TYPE_CHECKING:
    from collections.abc import Iterator

_URL: Final = "http://web.test/"
_OTHER: Final = "https://other.example"
_VAULT: Final = "keys.example.com"
_TALKATIVE: Final = f"http://{pod_ip(5)}:{HTTP_PORT}"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client, a server, and somebody outside of the mesh."""
    files = {
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
        "ann.yaml": pod("ann", 2) + service("ann", 2, ("ann", 2)),
        "anew.yaml": istio(
            "DestinationRule",
            "anew",
            """
            host: "*.test.svc.cluster.local"
            trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}
            """,
            namespace="test",
        ),
        "outside.yaml": pod("outside", 4, sidecar=False),
        "issuer.yaml": _issuer("issuer", 5),
    }
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        files["vault.yaml"] = _issuer("vault", 6, f"--certificate={_certify(folder)}")
        with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
            _know_the_vault(made, folder)
            yield made


def _certify(folder: Path) -> Path:
    """Write the certificate of who speaks TLS, and the roots that proxies are to have; return the first."""
    authority = TestAuthority()
    issued = authority.issue(_VAULT)
    (folder / "roots.pem").write_text(authority.pem)
    (folder / "vault.pem").write_text(issued.key + issued.chain)
    (folder / "zone").write_text(f"{_VAULT} {pod_ip(6)}\nalias.example.com {pod_ip(6)}\n")
    return folder / "vault.pem"


def _know_the_vault(mesh: LiveMesh, folder: Path) -> None:
    """Have the server know its name, and the system's roots in there be those of its authority."""
    realm = mesh.mesh.realm
    realm.bind(folder / "roots.pem", Path(SYSTEM_ROOTS).resolve())
    argv = (sys.executable, "-I", name_server.__file__, str(folder / "zone"))
    log = mesh.mesh.logs / "name_server.log"
    network = mesh.pod("web").network
    realm.spawn(Command(argv=argv, network=network, log=log))

    def _listens() -> bool:
        with suppress(ConnectionRefusedError):
            realm.connect(("127.0.0.1", 53), network=network).close()
            return True
        return False

    eventually(_listens, "the server's names are known")


def _issuer(name: str, number: int, *more: str) -> str:
    words = [f"--port={HTTP_PORT}", f"--me={_TALKATIVE}", f"--keys={key_set()}", *more]
    made = pod(name, number, sidecar=False).replace("live_app.py", "live_issuer.py")
    return re.sub(r"args: .*", lambda _: f"args: {json.dumps(words)}", made, count=1)


def _tokens(*more: str, issuer: str = ISSUER, name: str = "tokens") -> str:
    """Return a RequestAuthentication of the server; ``more`` are further fields of the one rule."""
    fields = "\n".join(f"    {line}" for line in more)
    spec = f"""
selector: {{matchLabels: {{app: web}}}}
jwtRules:
  - issuer: {issuer}
    jwks: '{key_set()}'
{fields}
"""
    return istio("RequestAuthentication", name, spec, namespace="test")


def _policy(action: str, rule: str, name: str = "") -> str:
    spec = f"action: {action}\nselector: {{matchLabels: {{app: web}}}}\nrules: [{rule}]"
    return istio("AuthorizationPolicy", name or action.lower(), spec, namespace="test")


def _get(mesh: LiveMesh, bearer: str = "", path: str = "", **headers: str) -> Reply:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if bearer:
        sent["authorization"] = f"Bearer {bearer}"
    return mesh.call("ann", _URL + path, headers=sent)


def test_a_valid_token_passes_and_so_does_none(mesh: LiveMesh) -> None:
    """The application does not see the token; one that is not valid is answered with 401."""
    with mesh.having(_tokens()):
        eventually(lambda: _get(mesh, "rubbish").status == 401, "tokens are looked at")
        assert _get(mesh).status == 200
        reply = _get(mesh, token())
        assert reply.status == 200
        assert "authorization" not in reply.seen["headers"]
        for wrong in (
            token(expired=True),
            token(issuer=_OTHER),
            token(secret=b"somebody else's secret"),
            token()[:-2],
        ):
            assert _get(mesh, wrong).status == 401
    eventually(lambda: _get(mesh, "rubbish").status == 200, "tokens are not looked at any more")


def test_tokens_are_looked_at_where_they_are_to_be(mesh: LiveMesh) -> None:
    """By whom a RequestAuthentication selects: of its own namespace, or of all from the root namespace."""
    bearer = {"authorization": "Bearer rubbish"}

    def _found() -> list[int]:
        urls = (_URL, "http://ann.test/")
        return [mesh.call("ann", url, headers=bearer).status for url in urls]

    some = "selector: {matchLabels: {app: web, version: v1}}\n"
    for namespace, selector, wanted in (
        ("test", some, [401, 200]),
        ("test", "", [401, 401]),
        ("test", some.replace("v1", "v2"), [200, 200]),
        ("istio-system", some, [401, 200]),
        ("other", some, [200, 200]),
    ):
        spec = f"{selector}jwtRules: [{{issuer: {ISSUER}, jwks: '{key_set()}'}}]"
        with mesh.having(istio("RequestAuthentication", "r", spec, namespace=namespace)):
            eventually(lambda: _found() == wanted, f"{namespace} {selector}")  # noqa: B023 - at once


def test_a_token_is_for_an_audience(mesh: LiveMesh) -> None:
    """One of those written, whether the claim is a text or a list."""
    with mesh.having(_tokens("audiences: [web, shop]")):
        eventually(lambda: _get(mesh, token()).status == 403, "an audience is asked for")
        assert _get(mesh, token(aud="web")).status == 200
        assert _get(mesh, token(aud=["x", "shop"])).status == 200
        assert _get(mesh, token(aud="bank")).status == 403


def test_a_token_is_found_where_the_rule_says(mesh: LiveMesh) -> None:
    """In a header with its prefix, a query parameter and a cookie; then not where it is by default."""
    rule = _tokens(
        "fromHeaders: [{name: x-token, prefix: 'Key '}]",
        "fromParams: [key]",
        "fromCookies: [session]",
    )
    must = _policy("DENY", "{from: [{source: {notRequestPrincipals: ['*']}}]}")
    with mesh.having(rule, must):
        eventually(lambda: _get(mesh).status == 403, "a token is asked for")
        assert _get(mesh, x_token=f"Key {token()}").status == 200
        assert _get(mesh, path=f"?key={token()}").status == 200
        assert _get(mesh, cookie=f"session={token()}").status == 200
        assert _get(mesh, token()).status == 403


def test_the_application_is_told_what_the_token_says(mesh: LiveMesh) -> None:
    """The token itself, its payload and single claims; what a client sends under these names is dropped."""
    rule = _tokens(
        "forwardOriginalToken: true",
        "outputPayloadToHeader: x-payload",
        "outputClaimToHeaders: [{header: x-user, claim: sub}, {header: x-team, claim: of.team}]",
    )
    with mesh.having(rule):
        eventually(lambda: _get(mesh, "rubbish").status == 401, "tokens are looked at")
        sent = token(of={"team": "blue"})
        seen = _get(mesh, sent, x_user="root").seen["headers"]
        assert seen["authorization"] == f"Bearer {sent}"
        assert seen["x-payload"] == sent.split(".")[1]
        assert (seen["x-user"], seen["x-team"]) == ("ann", "blue")
        assert "x-user" not in _get(mesh, x_user="root").seen["headers"]


def test_a_token_is_of_any_of_several_issuers(mesh: LiveMesh) -> None:
    """The rules of all policies hold together."""
    with mesh.having(_tokens(), _tokens(issuer=_OTHER, name="other")):
        eventually(lambda: _get(mesh, token(issuer=_OTHER)).status == 200, "both are known")
        assert _get(mesh, token()).status == 200
        assert _get(mesh).status == 200
        assert _get(mesh, token(issuer="https://third.example")).status == 401


def test_lists_of_words_are_asked_for_by_the_word(mesh: LiveMesh) -> None:
    """Of the claims that are written, beside those of every token."""
    claim = "{when: [{key: 'request.auth.claims[roles]', values: [judge]}]}"
    bearer = token(roles="cook judge")
    with mesh.having(_tokens("spaceDelimitedClaims: [roles]"), _policy("ALLOW", claim)):
        eventually(lambda: _get(mesh, token()).status == 403, "a role is asked for")
        assert _get(mesh, bearer).status == 200
    with mesh.having(_tokens(), _policy("ALLOW", claim)):
        eventually(lambda: _get(mesh, bearer).status == 403, "it is one text to everyone else")


def test_keys_that_do_not_come_in_time_are_not_waited_for(mesh: LiveMesh) -> None:
    """The issuer's tokens are refused."""
    place = f"http://ann.test.svc.cluster.local/k?delay=3&body={quote(key_set(), safe='')}"
    for timeout, status in (("0.2s", 401), ("9s", 200)):
        spec = f"jwtRules: [{{issuer: {ISSUER}, jwksUri: '{place}', timeout: {timeout}}}]"
        with mesh.having(istio("RequestAuthentication", "slow", spec, namespace="test")):
            eventually(lambda: _get(mesh, "rubbish").status == 401, "tokens are looked at")
            reply = _get(mesh, token())
            assert reply.status == status
            assert ("remote fetch is failed" in reply.body.decode()) == (status == 401)


def test_keys_are_fetched_from_a_service_of_the_mesh(mesh: LiveMesh) -> None:
    """By the proxy itself, over mutual TLS like every call."""
    place = f"http://ann.test.svc.cluster.local/keys?body={quote(key_set(), safe='')}"
    spec = f"jwtRules: [{{issuer: {ISSUER}, jwksUri: '{place}', timeout: 2s}}]"
    with mesh.having(istio("RequestAuthentication", "fetched", spec, namespace="test")):
        eventually(lambda: _get(mesh, "rubbish").status == 401, "tokens are looked at")
        eventually(lambda: _get(mesh, token()).status == 200, "the keys are there")
        assert _get(mesh, token(secret=b"somebody else's secret")).status == 401
        assert _get(mesh).status == 200


def test_keys_are_fetched_from_outside_of_the_mesh(mesh: LiveMesh) -> None:
    """From where no service is, and nothing is declared: by the proxy itself."""
    place = f"http://{pod_ip(4)}:{HTTP_PORT}/keys?body={quote(key_set(), safe='')}"
    spec = f"jwtRules: [{{issuer: {ISSUER}, jwksUri: '{place}'}}]"
    with mesh.having(istio("RequestAuthentication", "fetched", spec, namespace="test")):
        eventually(lambda: _get(mesh, "rubbish").status == 401, "tokens are looked at")
        eventually(lambda: _get(mesh, token()).status == 200, "the keys are there")
        assert _get(mesh, token(secret=b"somebody else's secret")).status == 401


@pytest.mark.parametrize(
    ("host", "status", "counter"),
    [(_VAULT, 200, "handshake"), ("alias.example.com", 401, "fail_verify_san")],
)
def test_keys_are_fetched_over_tls(mesh: LiveMesh, host: str, status: int, counter: str) -> None:
    """From whom the system's roots vouch for, by the name in the URL; nothing is declared."""
    spec = f"jwtRules: [{{issuer: {ISSUER}, jwksUri: 'https://{host}:{HTTP_PORT}/keys'}}]"
    with mesh.having(istio("RequestAuthentication", "fetched", spec, namespace="test")):
        eventually(lambda: _get(mesh, "rubbish").status == 401, "tokens are looked at")
        eventually(lambda: _get(mesh, token()).status == status, "the keys are there, or never")
        assert _get(mesh, token(secret=b"somebody else's secret")).status == 401
        assert _get(mesh).status == 200
        found = mesh.stats("web", rf"^cluster\..*{HTTP_PORT}\|_keys\|{host}.*ssl\.{counter}$")
    assert sum(found.values()) > 0


def test_an_issuer_says_itself_where_its_keys_are(mesh: LiveMesh) -> None:
    """The control plane asks it; one that does not answer is told of, and its tokens refused."""
    for issuer, status in ((_TALKATIVE, 200), (f"{_TALKATIVE}/nobody", 401)):
        spec = f"jwtRules: [{{issuer: '{issuer}'}}]"
        with mesh.having(istio("RequestAuthentication", "asked", spec, namespace="test")):
            eventually(lambda: _get(mesh, "rubbish").status == 401, "tokens are looked at")
            bearer = token(issuer=issuer)
            eventually(lambda: _get(mesh, bearer).status == status, "the issuer was asked")  # noqa: B023 - at once
            told = mesh.object("RequestAuthentication", "test/asked")["diagnostics"]
            codes = [one["code"] for one in told]
            assert codes == ([] if status == 200 else ["MZ0342"])


def test_without_keys_no_token_is_valid(mesh: LiveMesh) -> None:
    """Where nobody has the keys, the issuer's tokens are refused, and requests without one pass."""
    place = "https://nobody.test.svc.cluster.local/keys"
    spec = f"jwtRules: [{{issuer: {ISSUER}, jwksUri: '{place}'}}]"
    with mesh.having(istio("RequestAuthentication", "fetched", spec, namespace="test")):
        eventually(lambda: _get(mesh, token()).status == 401, "the issuer's tokens are refused")
        assert _get(mesh).status == 200


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ("{from: [{source: {requestPrincipals: ['*']}}]}", {"ann", "bob", "list", "deep"}),
        (f"{{from: [{{source: {{requestPrincipals: ['{ISSUER}/ann']}}}}]}}", {"ann", "list"}),
        ("{from: [{source: {requestPrincipals: ['*/bob']}}]}", {"bob"}),
        (f"{{from: [{{source: {{requestPrincipals: ['{ISSUER}/b*']}}}}]}}", {"bob"}),
        ("{from: [{source: {notRequestPrincipals: ['*/bob']}}]}", {"", "ann", "list", "deep"}),
        (f"{{when: [{{key: request.auth.principal, values: ['{ISSUER}/ann']}}]}}", {"ann", "list"}),
        ("{when: [{key: request.auth.audiences, values: [shop]}]}", {"list"}),
        ("{when: [{key: request.auth.presenter, values: [app]}]}", {"bob"}),
        ("{when: [{key: 'request.auth.claims[groups]', values: [admin]}]}", {"list", "bob"}),
        ("{when: [{key: 'request.auth.claims[groups]', values: ['adm*']}]}", {"list", "bob"}),
        ("{when: [{key: 'request.auth.claims[scope]', values: [write]}]}", {"ann"}),
        ("{when: [{key: 'request.auth.claims[of][team]', values: [blue]}]}", {"deep"}),
        (
            "{when: [{key: 'request.auth.claims[iss]', values: ['*'],"
            " notValues: [nobody]}, {key: 'request.auth.claims[groups]', notValues: [admin]}]}",
            {"ann", "deep"},
        ),
    ],
)
def test_policies_ask_for_claims(mesh: LiveMesh, rule: str, allowed: set[str]) -> None:
    """ALLOW by principal, audience, presenter, and claims that are texts, words, lists or nested."""
    bearers = {
        "": "",
        "ann": token(scope="read write"),
        "bob": token(sub="bob", azp="app", groups="admin"),
        "list": token(aud=["shop"], groups=["dev", "admin"]),
        "deep": token(sub="deep", of={"team": "blue"}),
    }
    with mesh.having(_tokens(), _policy("ALLOW", rule)):
        found: dict[str, int] = {}

        def _is_as_wanted() -> bool:
            found.update({who: _get(mesh, bearer).status for who, bearer in bearers.items()})
            return {who for who, status in found.items() if status == 200} == allowed

        eventually(_is_as_wanted, f"{rule} lets in {allowed}, and now {found}")
