"""TLS towards the outside: which certificate is shown and whom a proxy believes, and what it is given for that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mizzen.compile import Compiler
from mizzen.ir import Discovery, Plaintext, SimpleTls, UpstreamTls
from mizzen.model.meta import labels
from mizzen.model.proxy import Scope
from mizzen.model.world import Batch
from mizzen.resolve.client_tls import client_secrets
from mizzen.resolve.proxies import proxy_class
from mizzen.resolve.routes import viewer
from mizzen.resolve.upstreams import upstreams
from mizzen.wire import TypeUrl
from tests.support.certificates import TestAuthority, tls_secret
from tests.support.small_mesh import (
    GATEWAY,
    SHOP,
    SmallMesh,
    istio,
    key,
    pod,
    pod_name,
    read,
    router,
    sidecar,
)

API = "api.example.com"
OUTSIDE = istio(
    "ServiceEntry",
    "api",
    f"""
    hosts: [{API}]
    resolution: STATIC
    ports: [{{number: 443, name: http, protocol: HTTP}}]
    endpoints: [{{address: 203.0.113.1}}]
    """,
)
_CA = TestAuthority()
_OWN = _CA.issue("ann.example")
WEB = labels({"app": "web"})
TRUSTED = Scope(namespace="shop", labels=WEB, credentials=True)
SELECTED = "workloadSelector: {matchLabels: {app: web}}"


def rule(tls: str, more: str = "", *, namespace: str = "shop") -> str:
    text = f"host: {API}\n{more}\ntrafficPolicy: {{tls: {{{tls}}}}}"
    return istio("DestinationRule", "api", text, namespace=namespace)


def secret(name: str = "own", namespace: str = "shop", *, roots: bool = True) -> str:
    more = {"ca__crt": _CA.pem} if roots else {}
    return tls_secret(name, namespace, _OWN, **more)


def tls_of(mesh: SmallMesh, scope: Scope = SHOP) -> UpstreamTls | None:
    """Return the TLS of the host's cluster; None where that leads nowhere."""
    (found,) = upstreams(mesh.db, (scope, API))
    return None if found.discovery is Discovery.NOWHERE else found.tls


def names(mesh: SmallMesh, scope: Scope = SHOP) -> list[str]:
    return [name for name, _ in client_secrets(mesh.db, (scope, API))]


@pytest.mark.parametrize(
    ("text", "tls"),
    [
        ("mode: SIMPLE", SimpleTls()),
        ("mode: SIMPLE, caCertificates: /r", SimpleTls(roots=f"{API}~file-root:/r~")),
        (
            "mode: SIMPLE, caCrl: /x",
            SimpleTls(roots=f"{API}~file-root:/etc/ssl/certs/ca-certificates.crt~/x"),
        ),
        (
            "mode: MUTUAL, clientCertificate: /c, privateKey: /k, caCertificates: /r",
            SimpleTls(certificate=f"{API}~file-cert:/c~/k", roots=f"{API}~file-root:/r~"),
        ),
        (
            "mode: SIMPLE, clientCertificate: /c, privateKey: /k, insecureSkipVerify: true",
            SimpleTls(insecure_skip_verify=True),
        ),
    ],
)
def test_certificates_may_stand_in_files(text: str, tls: SimpleTls) -> None:
    """A secret of the host says where; the system's roots need none, and SIMPLE shows nothing."""
    mesh = SmallMesh(OUTSIDE, rule(text))
    assert tls_of(mesh) == tls
    assert set(names(mesh)) == {name for name in (tls.certificate, tls.roots) if name}


def test_a_sidecar_that_is_selected_has_its_namespaces_secret() -> None:
    """Certificate and roots."""
    mesh = SmallMesh(OUTSIDE, rule("mode: MUTUAL, credentialName: own", SELECTED), secret())
    assert tls_of(mesh, TRUSTED) == SimpleTls(
        certificate=f"{API}~kubernetes://own", roots=f"{API}~kubernetes://own-cacert"
    )
    assert names(mesh, TRUSTED) == [f"{API}~kubernetes://own", f"{API}~kubernetes://own-cacert"]


def test_a_credential_is_for_gateways_and_for_who_is_selected() -> None:
    """To other sidecars the rule says nothing of TLS (Istio)."""
    mesh = SmallMesh(
        OUTSIDE,
        rule("mode: SIMPLE, credentialName: own"),
        secret(),
        secret(namespace="ingress"),
    )
    assert tls_of(mesh, TRUSTED) == Plaintext()
    gateway = replace(GATEWAY, credentials=True)
    assert tls_of(mesh, gateway) == SimpleTls(roots=f"{API}~kubernetes://own-cacert")


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("mode: MUTUAL, credentialName: own", ()),
        ("mode: MUTUAL, credentialName: own", (secret(namespace="bank"),)),
        ("mode: MUTUAL, credentialName: own", (secret(roots=False),)),
        ("mode: SIMPLE, credentialName: own", (secret(roots=False),)),
    ],
)
def test_without_what_is_needed_a_cluster_leads_nowhere(
    text: str, objects: tuple[str, ...]
) -> None:
    """Half of TLS is not taken for the whole; and it is told of."""
    mesh = SmallMesh(OUTSIDE, rule(text, SELECTED), pod("10.0.0.1", "web"), *objects)
    assert tls_of(mesh, TRUSTED) is None
    assert names(mesh, TRUSTED) == []
    found = [path for code, _, path in mesh.findings() if code == "MZ0320"]
    assert found == ["spec.trafficPolicy.tls.credentialName"]
    mesh.apply(secret())
    assert tls_of(mesh, TRUSTED) is not None
    assert mesh.findings() == []


def test_gateways_need_the_secret_too() -> None:
    """In the namespace of one of them; where there is none, the rule begins no TLS at all."""
    mesh = SmallMesh(OUTSIDE, rule("mode: SIMPLE, credentialName: own"))

    def told() -> list[str]:
        return [code for code, _, path in mesh.findings() if path.endswith("tls.credentialName")]

    assert told() == ["MZ0203"]
    server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}"
    mesh.apply(
        istio("Gateway", "g", f"selector: {{app: gate}}\nservers: [{server}]", namespace="edge"),
        pod("10.0.0.9", "gate", namespace="ingress"),
        pod("10.0.0.8", "gate", namespace="egress"),
    )
    assert told() == ["MZ0320"]
    mesh.apply(secret(namespace="shop"))
    assert told() == ["MZ0320"]
    mesh.apply(secret(namespace="egress"))
    assert told() == []


def test_who_verifies_nobody_needs_no_roots() -> None:
    """But shows its certificate all the same."""
    text = "mode: MUTUAL, credentialName: own, insecureSkipVerify: true"
    mesh = SmallMesh(OUTSIDE, rule(text, SELECTED), secret(roots=False))
    assert names(mesh, TRUSTED) == [f"{API}~kubernetes://own"]


def test_a_proxy_that_is_not_known_gets_no_secret() -> None:
    """What it says of its own labels is but a claim."""
    mesh = SmallMesh(OUTSIDE, rule("mode: SIMPLE, credentialName: own", SELECTED), secret())
    assert tls_of(mesh, replace(TRUSTED, credentials=False)) is None
    said = proxy_class(mesh.db, sidecar(of=WEB)).scope
    assert (said.labels, said.credentials) == (WEB, False)
    mesh.apply(pod("10.0.0.1", "web"))
    known = proxy_class(mesh.db, sidecar(name=pod_name("10.0.0.1"))).scope
    assert known.credentials
    assert not proxy_class(mesh.db, sidecar("bank")).scope.credentials
    mesh.delete("DestinationRule", "api")
    assert not proxy_class(mesh.db, sidecar(name=pod_name("10.0.0.1"))).scope.credentials


def test_gateways_of_a_namespace_have_its_secrets_and_share_the_rest() -> None:
    """Only the clusters of hosts whose rules name Secrets are a gateway's own."""
    mesh = SmallMesh(OUTSIDE, rule("mode: SIMPLE, credentialName: own"), secret())
    gateway = replace(GATEWAY, credentials=True)
    assert viewer(mesh.db, (gateway, API)) == gateway
    mesh.apply(rule("mode: SIMPLE"))
    assert viewer(mesh.db, (gateway, API)) == Scope(namespace="", gateway=True)


@pytest.mark.parametrize("gateway", [False, True])
def test_secrets_travel_with_clusters(*, gateway: bool) -> None:
    """A new certificate changes the secret and no cluster; without the rule it goes."""
    where = "ingress" if gateway else "shop"
    wanted = rule("mode: MUTUAL, credentialName: own", "" if gateway else SELECTED)
    address = "10.0.0.1"
    of = pod(address, "web", namespace=where)
    node = replace(router() if gateway else sidecar(where), name=pod_name(address))
    compiler = Compiler()
    compiler.commit(Batch(changes=dict(read(OUTSIDE, wanted, of, secret(namespace=where)))))
    before = compiler.bundle(compiler.classify(node))
    name = f"{API}~kubernetes://own"
    first = before.get(TypeUrl.SECRET, name)
    assert first is not None
    assert {one.kind for one in first.origins} == {"DestinationRule", "Secret"}
    renewed = tls_secret("own", where, _CA.issue("ann.example"), ca__crt=_CA.pem)
    compiler.commit(Batch(changes=dict(read(renewed))))
    after = compiler.bundle(compiler.classify(node))
    assert after.get(TypeUrl.SECRET, name) not in (None, first)
    assert after.layers(TypeUrl.CLUSTER)[-1] is before.layers(TypeUrl.CLUSTER)[-1]
    compiler.commit(Batch(changes={key("DestinationRule", "api"): None}))
    assert compiler.bundle(compiler.classify(node)).get(TypeUrl.SECRET, name) is None


def test_secrets_of_files_are_the_rules() -> None:
    """What Envoy says of a file that it cannot read is said of who wrote its name."""
    mesh = SmallMesh(OUTSIDE, rule("mode: SIMPLE, caCertificates: /r"))
    ((_, wish),) = client_secrets(mesh.db, (SHOP, API))
    assert wish.origins == (key("DestinationRule", "api"),)


def test_places_of_what_name_servers_find_are_told_of() -> None:
    """They are the same for all clients; switching places off asks for nothing."""
    named = OUTSIDE.replace("STATIC", "DNS").replace("203.0.113.1", "api.test")
    text = f"host: {API}\ntrafficPolicy: {{loadBalancer: {{localityLbSetting: {{}}}}}}"
    spread = 'distribute: [{from: eu, to: {"eu/*": 100}}]'
    mesh = SmallMesh(named)
    for written, found in (("enabled: false", []), ("enabled: true", []), (spread, ["MZ0203"])):
        wanted = text.replace("localityLbSetting: {}", f"localityLbSetting: {{{written}}}")
        mesh.apply(istio("DestinationRule", "api", wanted))
        assert [code for code, _, _ in mesh.findings()] == found
    mesh.apply(OUTSIDE)
    assert mesh.findings() == []
