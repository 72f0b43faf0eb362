"""Which RequestAuthentications hold for a workload, and how that follows changes."""

from __future__ import annotations

import pytest

from mizzen.ir import Discovery, Plaintext, SimpleTls, TokenIssuers, UpstreamTls
from mizzen.model.proxy import Workload
from mizzen.model.security import IssuerKeys, issuer_meta
from mizzen.model.world import Batch
from mizzen.resolve.authentication import tokens_for
from mizzen.resolve.gateway_listeners import gateway_listeners
from mizzen.resolve.inbound import inbound_policy
from tests.support.small_mesh import SmallMesh, istio, key, pod, service, workload
from tests.support.tokens import key_set

WEB = workload("web")


def tokens(name: str, issuer: str, *, namespace: str = "shop", selector: str = "") -> str:
    """Return a policy with one issuer."""
    chosen = f"selector: {{matchLabels: {{{selector}}}}}\n" if selector else ""
    spec = f"{chosen}jwtRules: [{{issuer: {issuer}, jwks: '{key_set()}'}}]"
    return istio("RequestAuthentication", name, spec, namespace=namespace)


def issuers(mesh: SmallMesh, of: Workload = WEB) -> list[str]:
    """Return the issuers whose tokens are valid for a workload."""
    return [rule.issuer for rule in tokens_for(mesh.db, of).rules]


def test_without_policies_tokens_are_not_looked_at() -> None:
    """A policy without rules is none."""
    assert tokens_for(SmallMesh().db, WEB) == TokenIssuers()
    empty = istio("RequestAuthentication", "empty", "jwtRules: []")
    assert tokens_for(SmallMesh(empty).db, WEB) == TokenIssuers()


def test_all_policies_that_select_a_workload_hold_together() -> None:
    """Those of the root namespace, of its own, and those for its labels; sorted by issuer."""
    mesh = SmallMesh(
        tokens("mesh", "d.example", namespace="istio-system"),
        tokens("some", "c.example", namespace="istio-system", selector="app: web"),
        tokens("all", "b.example"),
        tokens("web", "a.example", selector="app: web"),
        tokens("cart", "e.example", selector="app: cart"),
        tokens("far", "f.example", namespace="bank"),
    )
    assert issuers(mesh) == ["a.example", "b.example", "c.example", "d.example"]
    assert issuers(mesh, workload("cart")) == ["b.example", "d.example", "e.example"]
    found = tokens_for(mesh.db, workload("cart")).origins
    assert [one.name for one in found] == ["mesh", "all", "cart"]


def test_a_policy_of_a_service_is_not_for_all_of_its_workloads() -> None:
    """But for the ports that it gives them."""
    spec = "targetRefs: [{kind: Service, name: web}]\njwtRules: [{issuer: a, jwks: '%s'}]"
    mesh = SmallMesh(istio("RequestAuthentication", "attached", spec % key_set()), service("web"))
    assert issuers(mesh) == []
    (port,) = inbound_policy(mesh.db, WEB).attached
    assert (port.port, [rule.issuer for rule in port.tokens.rules]) == (8080, ["a"])


def test_changes_reach_the_inbound_side_and_gateways() -> None:
    """A policy that comes, and one that goes."""
    gateway = istio(
        "Gateway",
        "edge",
        "selector: {app: web}\nservers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*']}]",
    )
    mesh = SmallMesh(gateway)
    assert inbound_policy(mesh.db, WEB).tokens == TokenIssuers()
    mesh.apply(tokens("web", "a.example"))
    assert inbound_policy(mesh.db, WEB).tokens == tokens_for(mesh.db, WEB)
    (listener,) = gateway_listeners(mesh.db, WEB)
    assert [rule.issuer for rule in listener.tokens.rules] == ["a.example"]
    mesh.delete("RequestAuthentication", "web")
    assert inbound_policy(mesh.db, WEB).tokens == TokenIssuers()


def test_a_selector_that_matches_nothing_is_told_of() -> None:
    """In the root namespace every namespace is looked at."""
    mesh = SmallMesh(
        pod("10.0.0.1", "web"),
        tokens("gone", "a.example", selector="app: gone"),
        tokens("web", "a.example", namespace="istio-system", selector="app: web"),
    )
    name = str(key("RequestAuthentication", "gone"))
    assert ("MZ0308", name, "spec.selector.matchLabels") in mesh.findings()
    assert len(mesh.findings()) == 1


@pytest.mark.parametrize(
    ("place", "cluster"),
    [
        ("http://keys.shop.svc.cluster.local/jwks", "outbound|80||keys.shop.svc.cluster.local"),
        ("http://keys.shop.svc.cluster.local:81/", "outbound|81||keys.shop.svc.cluster.local"),
        ("https://keys.shop.svc.cluster.local/", ""),
        ("http://keys/", ""),
    ],
)
def test_keys_are_fetched_from_services_of_the_mesh(place: str, cluster: str) -> None:
    """By host and port; what is not there is told of, and its keys are nobody's."""
    spec = f"jwtRules: [{{issuer: a, jwksUri: '{place}'}}]"
    mesh = SmallMesh(istio("RequestAuthentication", "fetched", spec))
    assert tokens_for(mesh.db, WEB).sources == ()
    mesh.apply(service("keys", "http:80", "http-more:81"))
    found = tokens_for(mesh.db, WEB)
    assert found.sources == (((place, cluster),) if cluster else ())
    assert found.servers == ()
    told = ("MZ0301", "RequestAuthentication shop/fetched", "spec.jwtRules[0].jwksUri")
    assert (told in mesh.findings()) is not bool(cluster)


ENTRY = """
hosts: [issuer.example]
resolution: STATIC
ports: [{number: 443, name: http, protocol: HTTP}, {number: 80, name: http-plain, protocol: HTTP}]
endpoints: [{address: 192.0.2.1}]
"""


@pytest.mark.parametrize(
    ("place", "cluster", "tls"),
    [
        (
            "https://issuer.example/keys",
            "outbound|443|_keys|issuer.example",
            SimpleTls(sni="issuer.example", subject_alt_names=("issuer.example",)),
        ),
        (
            "http://issuer.example:8080/keys",
            "outbound|8080|_plain-keys|issuer.example",
            Plaintext(),
        ),
        (
            "https://10.0.0.9:8443/",
            "outbound|8443|_keys|10.0.0.9",
            SimpleTls(subject_alt_names=("10.0.0.9",)),
        ),
        (
            "https://[2001:db8::1]/",
            "outbound|443|_keys|2001:db8::1",
            SimpleTls(subject_alt_names=("2001:db8::1",)),
        ),
    ],
)
def test_keys_are_fetched_from_outside(place: str, cluster: str, tls: UpstreamTls) -> None:
    """By a cluster of their own, whose names DNS knows; nothing has to be declared for it."""
    spec = f"jwtRules: [{{issuer: a, jwksUri: '{place}'}}, {{issuer: b, jwksUri: '{place}'}}]"
    mesh = SmallMesh(istio("RequestAuthentication", "fetched", spec))
    found = tokens_for(mesh.db, WEB)
    assert found.sources == ((place, cluster),)
    (server,) = found.servers
    assert (server.name, server.tls, server.discovery) == (cluster, tls, Discovery.DNS)
    assert found.clusters == {cluster}
    assert mesh.findings() == []
    policy = inbound_policy(mesh.db, WEB)
    assert policy.key_servers == (server,)


def _says(place: str = "", failure: str = "") -> Batch:
    said = IssuerKeys(meta=issuer_meta("https://a.example"), jwks_uri=place, failure=failure)
    return Batch(changes={said.meta.key: said})


def test_an_issuer_may_say_where_its_keys_are() -> None:
    """Where nothing is written; as long as it has not, its keys are nobody's, and why is told."""
    written = "https://a.example/written"
    spec = f"""
        jwtRules: [{{issuer: 'https://a.example'}}, {{issuer: 'https://b.example', jwksUri: '{written}'}}]
        """
    mesh = SmallMesh(istio("RequestAuthentication", "asked", spec))
    assert [place for place, _ in tokens_for(mesh.db, WEB).sources] == [written]
    mesh.world.commit(_says(failure="nobody there"))
    assert [place for place, _ in tokens_for(mesh.db, WEB).sources] == [written]
    told = ("MZ0342", "RequestAuthentication shop/asked", "spec.jwtRules[0].issuer")
    assert mesh.findings() == [told]
    mesh.world.commit(_says("https://a.example/keys"))
    found = tokens_for(mesh.db, WEB)
    assert [place for place, _ in found.sources] == ["https://a.example/keys", written]
    assert [rule.jwks_uri for rule in found.rules] == ["https://a.example/keys", written]
    assert mesh.findings() == []


def test_keys_come_by_the_way_that_speaks_tls() -> None:
    """Where a DestinationRule says how, as that says; else TLS is spoken by a cluster of their own."""
    place = "https://issuer.example/keys"
    spec = f"jwtRules: [{{issuer: a, jwksUri: '{place}'}}]"
    mesh = SmallMesh(
        istio("RequestAuthentication", "fetched", spec), istio("ServiceEntry", "issuer", ENTRY)
    )
    own = "outbound|443|_keys|issuer.example"
    assert tokens_for(mesh.db, WEB).sources == ((place, own),)
    rule = "host: issuer.example\ntrafficPolicy: {tls: {mode: SIMPLE}}"
    mesh.apply(istio("DestinationRule", "issuer", rule))
    found = tokens_for(mesh.db, WEB)
    assert found.sources == ((place, "outbound|443||issuer.example"),)
    assert found.servers == ()
    plain = spec.replace("https://issuer.example", "http://issuer.example")
    mesh.apply(istio("RequestAuthentication", "fetched", plain))
    ((_, cluster),) = tokens_for(mesh.db, WEB).sources
    assert cluster == "outbound|80||issuer.example"
