"""Each finding comes with its cause and goes with it."""

from __future__ import annotations

import pytest

from mizzen.analyze import analysis
from tests.support.small_mesh import (
    SmallMesh,
    endpoints,
    host,
    istio,
    key,
    pod,
    read,
    service,
)

CART = host("cart")


def routes(
    name: str, http: str = "", *, hosts: str = "cart", more: str = "", **meta: object
) -> str:
    rules = http or "- route: [{destination: {host: cart, port: {number: 80}}}]"
    shifted = "\n".join(f"  {line}" for line in rules.splitlines())
    return istio("VirtualService", name, f"hosts: [{hosts}]\n{more}\nhttp:\n{shifted}", **meta)  # type: ignore[arg-type]


def to(destination: str, more: str = "") -> str:
    return f"- route: [{{destination: {{{destination}}}}}]\n{more}"


def rule(name: str, spec: str, *, of: str = CART, **meta: object) -> str:
    return istio("DestinationRule", name, f"    host: {of!r}\n    {spec}", **meta)  # type: ignore[arg-type]


def gateway(*hosts: str, port: int = 80, name: str = "door") -> str:
    spec = f"""
        selector: {{app: gate}}
        servers:
        - port: {{number: {port}, name: http, protocol: HTTP}}
          hosts: [{", ".join(repr(h) for h in hosts)}]
    """
    return istio("Gateway", name, spec)


def entry(name: str, of: str, more: str = "", **meta: object) -> str:
    spec = f"""
        hosts: [{of}]
        resolution: STATIC
        ports: [{{number: 80, name: http, protocol: HTTP}}]
        endpoints: [{{address: 10.1.0.1}}]
        {more}
    """
    return istio("ServiceEntry", name, spec, **meta)  # type: ignore[arg-type]


GATE = pod("10.0.9.1", "gate", mtls=False)
READY = (service("cart"), endpoints("cart", "10.0.0.1"), pod("10.0.0.1", "cart", "version: v1"))
TWO = (service("cart", "http:80", "http-x:8080"), service("one", "http:9000", ip="10.96.0.2"))


def check(mesh: SmallMesh, code: str, of: str, path: str, words: str) -> None:
    """Hold that this finding is there, and says so."""
    assert (code, of, path) in mesh.findings()
    assert any(words in message for message in mesh.messages()), mesh.messages()


def codes(mesh: SmallMesh) -> set[str]:
    return {code for code, _, _ in mesh.findings()}


Case = tuple[tuple[str, ...], tuple[str, ...], str, str]
CASES: dict[str, list[Case]] = {
    "MZ0301": [
        (
            (routes("v", to("host: crat")), service("cart")),
            (service("crat", ip="10.96.0.2"),),
            "spec.http[0].route[0].destination.host",
            f"{host('crat')} is neither a Service nor a ServiceEntry that shop sees",
        ),
        (
            (
                routes("v", to(f"host: {host('till', 'bank')}")),
                service("cart"),
                service("till", namespace="bank", extra="networking.istio.io/exportTo: '.'"),
            ),
            (service("till", namespace="bank", ip="10.96.0.2"),),
            "spec.http[0].route[0].destination.host",
            "that shop sees",
        ),
    ],
    "MZ0302": [
        (
            (*READY, routes("v", to("host: cart, subset: v1"))),
            (rule("r", "subsets: [{name: v1, labels: {version: v1}}]"),),
            "spec.http[0].route[0].destination.subset",
            "has no subset 'v1'; known: none",
        ),
    ],
    "MZ0303": [
        (
            (
                service("cart", "http:80", "udp-x:81"),
                routes("v", to("host: cart, port: {number: 81}")),
            ),
            (service("cart", "http:80", "http-x:81"),),
            "spec.http[0].route[0].destination.port.number",
            "has no port 81; known: 80",
        ),
    ],
    "MZ0304": [
        (
            (service("cart"), routes("v", hosts="a.test", more="gateways: [door]")),
            (gateway("*"), GATE),
            "spec.gateways[0]",
            "there is no Gateway shop/door",
        ),
    ],
    "MZ0305": [
        (
            (*TWO, routes("v", to("host: cart"), hosts="one")),
            (routes("v", to("host: cart, port: {number: 80}"), hosts="one"),),
            "spec.http[0].route[0].destination.port",
            "requests that come on 9000 go to a port that it does not have",
        ),
        (
            (*TWO, routes("v", to("host: cart"), hosts="one")),
            (service("one", "http:8080", ip="10.96.0.2"),),
            "spec.http[0].route[0].destination.port",
            "the ports 80, 8080 and none is chosen",
        ),
        (
            (
                *TWO,
                GATE,
                gateway("*", port=81),
                routes("v", to("host: cart"), hosts="a.test", more="gateways: [door]"),
            ),
            (gateway("*", port=80),),
            "spec.http[0].route[0].destination.port",
            "come on 81",
        ),
        (
            (*TWO, routes("v", to("host: cart"), hosts="'*.shop.svc.cluster.local'")),
            (service("one", "http:80", ip="10.96.0.2"),),
            "spec.http[0].route[0].destination.port",
            "come on 9000",
        ),
    ],
    "MZ0306": [
        (
            (rule("r", "", of="lost"),),
            (service("lost"),),
            "spec.host",
            f"{host('lost')} is neither",
        ),
        ((rule("r", "", of="*.test"),), (entry("e", "a.test"),), "spec.host", "*.test is neither"),
    ],
    "MZ0307": [
        (
            (*READY, rule("r", "subsets: [{name: v2, labels: {version: v2}}]")),
            (pod("10.0.0.1", "cart", "version: v2"),),
            "spec.subsets[0].labels",
            f"no endpoint of {CART} has version=v2",
        ),
        (
            (service("cart"), rule("r", "subsets: [{name: all}]")),
            (endpoints("cart", "10.0.0.1"),),
            "spec.subsets[0].labels",
            "there is none at all",
        ),
    ],
    "MZ0308": [
        ((gateway("*"),), (GATE,), "spec.selector", "no workload has app=gate"),
        (
            (gateway("*"),),
            (
                istio(
                    "WorkloadEntry",
                    "gate",
                    "address: 10.0.9.1\nlabels: {app: gate}",
                    namespace="bank",
                ),
            ),
            "spec.selector",
            "no workload has app=gate",
        ),
        (
            (istio("PeerAuthentication", "p", "selector: {matchLabels: {app: cart}}"),),
            (pod("10.0.0.1", "cart"),),
            "spec.selector.matchLabels",
            "no workload of shop has app=cart",
        ),
        (
            (istio("AuthorizationPolicy", "p", "selector: {matchLabels: {app: cart}}"),),
            (pod("10.0.0.1", "cart"),),
            "spec.selector.matchLabels",
            "no workload of shop has app=cart",
        ),
        (
            (
                istio(
                    "AuthorizationPolicy",
                    "p",
                    "selector: {matchLabels: {app: cart}}",
                    namespace="istio-system",
                ),
            ),
            (pod("10.0.0.1", "cart"),),
            "spec.selector.matchLabels",
            "no workload has app=cart",
        ),
        (
            (
                pod("10.0.0.1", "cart", namespace="istio-system"),
                istio(
                    "PeerAuthentication",
                    "p",
                    "selector: {matchLabels: {app: cart}}",
                    namespace="istio-system",
                ),
            ),
            (istio("PeerAuthentication", "p", "mtls: {mode: STRICT}", namespace="istio-system"),),
            "spec.selector.matchLabels",
            "a selector has no effect in the root namespace",
        ),
    ],
    "MZ0309": [
        (
            (
                service("cart"),
                GATE,
                gateway("b.test"),
                routes("v", hosts="a.test", more="gateways: [door]"),
            ),
            (gateway("*.test"),),
            "spec.gateways[0]",
            "no server of Gateway shop/door takes a.test from shop",
        ),
        (
            (
                service("cart"),
                GATE,
                gateway("bank/a.test"),
                routes("v", hosts="a.test", more="gateways: [door]"),
            ),
            (gateway("./a.test"),),
            "spec.gateways[0]",
            "takes a.test from shop",
        ),
        (
            (
                service("cart"),
                GATE,
                gateway(host("web")),
                routes("v", hosts="cart", more="gateways: [door]"),
            ),
            (gateway(CART),),
            "spec.gateways[0]",
            "takes cart from shop",
        ),
    ],
    "MZ0402": [
        (
            (service("cart"), routes("v", f"{to('host: cart')}{to('host: cart')}")),
            (routes("v", to("host: cart")),),
            "spec.http[1]",
            "spec.http[0] takes all its requests before it",
        ),
        (
            (
                service("cart"),
                routes(
                    "v", f"{to('host: cart', '  match: [{uri: {prefix: /}}]')}\n{to('host: cart')}"
                ),
            ),
            (
                routes(
                    "v",
                    f"{to('host: cart', '  match: [{uri: {prefix: /}, sourceNamespace: x}]')}\n"
                    f"{to('host: cart')}",
                ),
            ),
            "spec.http[1]",
            "spec.http[0] takes all its requests",
        ),
    ],
    "MZ0406": [
        (
            (
                service("cart", "tcp-x:9000", "http:80:8080"),
                pod("10.0.0.1", "cart"),
                istio("AuthorizationPolicy", "p", "rules: [{to: [{operation: {methods: [GET]}}]}]"),
            ),
            (
                istio(
                    "AuthorizationPolicy",
                    "p",
                    "rules: [{to: [{operation: {methods: [GET], ports: ['8080']}}]}]",
                ),
            ),
            "spec.rules[0]",
            "port 9000 of the selected workloads is TCP, which has no requests",
        ),
    ],
}
FLAT = [(code, *case) for code, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(
    ("code", "wrong", "remedy", "path", "words"),
    FLAT,
    ids=[f"{code}-{number}" for number, (code, *_) in enumerate(FLAT)],
)
def test_a_finding_comes_with_its_cause_and_goes_with_it(
    code: str, wrong: tuple[str, ...], remedy: tuple[str, ...], path: str, words: str
) -> None:
    """Read, told, put right: the same as when it had been right from the start."""
    mesh = SmallMesh(*wrong)
    assert codes(mesh) == {code}
    ((_, of, _),) = mesh.findings()
    check(mesh, code, of, path, words)
    mesh.apply(*remedy)
    assert mesh.findings() == []
    for added in read(*remedy).keys() - read(*wrong).keys():
        mesh.delete(added.kind, added.name, added.namespace)
    mesh.apply(*wrong)
    check(mesh, code, of, path, words)


@pytest.mark.parametrize(
    ("destination", "more"),
    [
        ("host: cart, port: {number: 80}", ""),
        ("host: one", ""),
        ("host: cart", "  match: [{port: 80}]"),
        ("host: cart", "  match: [{gateways: [door]}]"),
    ],
)
def test_a_port_need_not_be_chosen_where_there_is_no_choice(destination: str, more: str) -> None:
    """One port, or rules that no request on another port reaches."""
    mesh = SmallMesh(
        *TWO,
        GATE,
        gateway("one.shop.svc.cluster.local"),
        routes("v", to(destination, more), hosts="one", more="gateways: [mesh, door]"),
    )
    assert mesh.findings() == []


def test_a_host_without_a_service_comes_in_on_port_80() -> None:
    """So a destination with several ports needs one that is 80."""
    mesh = SmallMesh(
        service("cart", "http:81", "grpc:82"), routes("v", to("host: cart"), hosts="a.test")
    )
    check(
        mesh,
        "MZ0305",
        "VirtualService shop/v",
        "spec.http[0].route[0].destination.port",
        "come on 80",
    )


def test_a_missing_gateway_lets_nothing_in() -> None:
    """It is told of as missing, and not for its ports."""
    mesh = SmallMesh(
        service("cart", "http:81", "grpc:82"),
        routes("v", to("host: cart"), hosts="a.test", more="gateways: [door]"),
    )
    assert codes(mesh) == {"MZ0304"}


VS = "VirtualService"


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (
            (routes("old", age=1), routes("young", age=2)),
            {
                "shop/old": "is routed by this one, and not by VirtualService shop/young",
                "shop/young": "is routed by VirtualService shop/old, which goes first by age and name",
            },
        ),
        (
            (routes("all", age=1), routes("own", more="exportTo: ['.']", age=2)),
            {
                "shop/all": "is routed by VirtualService shop/own in shop, which is exported less widely",
                "shop/own": "is routed by this one, and not by VirtualService shop/all in shop",
            },
        ),
        (
            (
                routes("all", age=2),
                routes("bank", hosts=CART, more="exportTo: [bank]", namespace="third", age=1),
            ),
            {
                "shop/all": "is routed by VirtualService third/bank in bank, which is exported",
                "third/bank": "is routed by this one, and not by VirtualService shop/all in bank",
            },
        ),
        (
            (
                routes("one", more="exportTo: ['.']"),
                routes("two", hosts=CART, more="exportTo: ['.']", namespace="bank"),
            ),
            {},
        ),
        ((routes("exact"), routes("wide", hosts="'*.shop.svc.cluster.local'")), {}),
        (
            (routes("first", age=1), routes("second", age=2), routes("third", age=3)),
            {
                "shop/first": "by VirtualService shop/second, VirtualService shop/third",
                "shop/second": "is routed by VirtualService shop/first",
                "shop/third": "is routed by VirtualService shop/first",
            },
        ),
        ((routes("mesh"), routes("gate", hosts=CART, more="gateways: [door]")), {}),
    ],
)
def test_a_contested_host_is_told_of_on_both_sides(
    others: tuple[str, ...], expected: dict[str, str]
) -> None:
    """The winner is named on the loser and the loser on the winner, where both are seen."""
    mesh = SmallMesh(service("cart"), GATE, gateway(CART), *others)
    found = {
        f"{of.namespace}/{of.name}": one.message
        for of, all_of in analysis(mesh.db).items()
        for one in all_of
        if one.code.id == "MZ0401"
    }
    assert found.keys() == expected.keys()
    for name, words in expected.items():
        assert words in found[name]


def test_a_subset_of_two_rules_is_told_of_on_both() -> None:
    """The oldest definition is in force."""
    subset = "subsets: [{name: v1, labels: {version: v1}}]"
    mesh = SmallMesh(*READY, rule("old", subset, age=1), rule("young", subset, age=2))
    path = "spec.subsets[0].name"
    check(mesh, "MZ0403", "DestinationRule shop/old", path, "in DestinationRule shop/young too")
    check(mesh, "MZ0403", "DestinationRule shop/young", path, "DestinationRule shop/old wins")
    mesh.apply(rule("young", "subsets: [{name: v2, labels: {version: v1}}]"))
    assert mesh.findings() == []
    mesh.apply(rule("young", subset, namespace="bank"))
    assert codes(mesh) == set()


def test_policies_of_one_reach_are_told_of_on_both() -> None:
    """Whole namespaces, or equal selectors; the oldest holds."""
    strict = "mtls: {mode: STRICT}"
    mesh = SmallMesh(
        istio("PeerAuthentication", "old", strict, age=1),
        istio("PeerAuthentication", "young", strict, age=2),
    )
    check(mesh, "MZ0404", "PeerAuthentication shop/old", "spec.selector", "this one holds")
    check(mesh, "MZ0404", "PeerAuthentication shop/young", "spec.selector", "goes first by age")
    mesh.delete("PeerAuthentication", "old")
    assert mesh.findings() == []


E, S = "ServiceEntry", "Service"


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        (
            (service("cart"), entry("e", CART)),
            {
                "ServiceEntry shop/e": "is given by Service shop/cart, which goes first",
                "Service shop/cart": "is given by this one; ServiceEntry shop/e goes behind",
            },
        ),
        (
            (service("cart"), entry("e", CART, namespace="bank")),
            {
                "ServiceEntry bank/e": "by Service shop/cart in other namespaces, which goes first",
                "Service shop/cart": "by this one in other namespaces; ServiceEntry bank/e goes",
            },
        ),
        ((service("cart"), entry("e", CART, more="exportTo: ['.']", namespace="bank")), {}),
        (
            (
                entry("a", "x.test", more="exportTo: ['.']"),
                entry("b", "x.test", more="exportTo: ['.']", age=1),
            ),
            {
                "ServiceEntry shop/a": "given by this one; ServiceEntry shop/b goes behind",
                "ServiceEntry shop/b": "given by ServiceEntry shop/a, which goes first",
            },
        ),
        ((service("cart"), entry("e", CART, more="location: MESH_INTERNAL")), {}),
        (
            (service("cart"), entry("e", CART)),
            {
                "Service shop/cart": "given by this one; ServiceEntry shop/e goes behind",
                "ServiceEntry shop/e": "given by Service shop/cart, which goes first",
            },
        ),
    ],
)
def test_a_host_given_twice_is_told_of_on_both(
    objects: tuple[str, ...], expected: dict[str, str]
) -> None:
    """With who is meant by it, in the own namespace and in others."""
    mesh = SmallMesh(*objects)
    found = {str(of): one.message for of, all_of in analysis(mesh.db).items() for one in all_of}
    assert found.keys() == expected.keys()
    for of, words in expected.items():
        assert words in found[of]


def bytes_to(name: str, port: str, addresses: str = "", **meta: object) -> str:
    protocol, number = port.split(":")
    spec = f"""
        hosts: [{name}.test]
        addresses: [{addresses}]
        resolution: STATIC
        ports: [{{number: {number}, name: p, protocol: {protocol}}}]
        endpoints: [{{address: 10.1.0.1}}]
    """
    return istio("ServiceEntry", name, spec, **meta)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        (
            service("a", "tcp-x:90", age=1),
            service("b", "tcp-x:90", age=2),
            "connections to 10.96.0.1:90 go to",
        ),
        (service("a", "x:90", age=1), service("b", "tcp-x:90", age=2), "10.96.0.1:90"),
        (bytes_to("a", "TCP:90"), bytes_to("b", "TCP:90", age=1), "any address on port 90"),
        (
            bytes_to("a", "TCP:90", "10.7.0.0/16"),
            bytes_to("b", "TCP:90", "10.7.0.0/16", age=1),
            "10.7.0.0/16:90",
        ),
        (
            bytes_to("a", "TCP:90", "10.5.0.1"),
            service("b", "tcp-x:90", ip="10.5.0.1", age=1),
            "10.5.0.1:90",
        ),
        (bytes_to("a", "TLS:90"), bytes_to("b", "TLS:90"), ""),
        (bytes_to("a", "TCP:90"), bytes_to("b", "TLS:90"), ""),
        (bytes_to("a", "TCP:90"), bytes_to("b", "TCP:91"), ""),
        (bytes_to("a", "TCP:90"), bytes_to("b", "HTTP:90"), ""),
        (bytes_to("a", "TCP:90"), bytes_to("b", "TCP:90", "10.5.0.1"), ""),
        (service("a", "http:90"), service("b", "tcp-x:90"), ""),
        (service("a", "tcp-x:90", ip="None"), service("b", "tcp-x:90", ip="None"), ""),
        (
            bytes_to("a", "TCP:90").replace("STATIC", "STATIC\n  exportTo: ['.']"),
            bytes_to("b", "TCP:90", namespace="bank").replace(
                "STATIC", "STATIC\n  exportTo: ['.']"
            ),
            "",
        ),
    ],
)
def test_an_address_of_two_is_told_of_on_both(one: str, other: str, where: str) -> None:
    """What is neither HTTP nor told by name or range goes to the oldest."""
    mesh = SmallMesh(one, other)
    found = {of.name: all_of[0].message for of, all_of in analysis(mesh.db).items()}
    assert sorted(found) == (["a", "b"] if where else [])
    if where:
        assert codes(mesh) == {"MZ0407"}
        assert where in found["a"]
        assert "go to this one, and not to" in found["a"]
        assert "go to Service" in found["b"] or "go to ServiceEntry" in found["b"]
        (kind,) = {of.kind for of in analysis(mesh.db) if of.name == "b"}
        mesh.delete(kind, "b")
        assert mesh.findings() == []


def test_one_host_of_two_objects_is_no_quarrel_over_addresses() -> None:
    """Only who is meant by the host has its addresses; by server name they are the same."""
    entry_of = bytes_to("a", "TLS:90").replace("a.test", "x.test")
    mesh = SmallMesh(entry_of, entry_of.replace("name: a\n", "name: b\n"))
    assert codes(mesh) == {"MZ0405"}


def test_an_entry_of_two_hosts_quarrels_once_for_each_port() -> None:
    """However many of its hosts and addresses are contested."""
    wide = bytes_to("b", "TLS:90", "10.7.0.0/16", age=1).replace("[b.test]", "[b.test, a.test]")
    narrow = bytes_to("a", "TLS:90", "10.7.0.0/16", namespace="bank")
    mesh = SmallMesh(wide, narrow)
    assert codes(mesh) == {"MZ0405"}
    mesh = SmallMesh(
        bytes_to("a", "TLS:90", "10.5.0.1, 10.5.0.2").replace("[a.test]", "['*.test']"),
        bytes_to("b", "TLS:90", "10.5.0.1, 10.5.0.2", age=1).replace(
            "[b.test]", "['*.test', c.test]"
        ),
    )
    assert [code for code, _, _ in mesh.findings()] == ["MZ0405", "MZ0407"] * 2


def test_what_is_gone_has_no_findings() -> None:
    """A deleted object takes its findings along, and what it hid reappears as right."""
    mesh = SmallMesh(service("cart"), routes("a"), routes("b"))
    assert codes(mesh) == {"MZ0401"}
    mesh.delete("VirtualService", "a")
    assert mesh.findings() == []
    mesh.delete("Service", "cart")
    assert codes(mesh) == {"MZ0301"}
    mesh.delete("VirtualService", "b")
    assert mesh.findings() == []


def test_findings_come_sorted_by_object() -> None:
    """However they came about."""
    mesh = SmallMesh(rule("b", "", of="b"), rule("a", "", of="a"))
    mesh.apply(rule("c", "", of="c"))
    assert list(analysis(mesh.db)) == [key("DestinationRule", name) for name in "abc"]


def test_an_unrelated_change_looks_at_nothing_again() -> None:
    """The very same findings after a change that they do not refer to."""
    mesh = SmallMesh(*READY, rule("r", "", of="lost"))
    before = analysis(mesh.db)[key("DestinationRule", "r")]
    mesh.apply(pod("10.0.0.7", "web"), endpoints("cart", "10.0.0.1", "10.0.0.7"))
    assert analysis(mesh.db)[key("DestinationRule", "r")] is before


@pytest.mark.parametrize(
    ("part", "rules", "unreached"),
    [
        ("tcp", "[{route: R}, {route: R}]", [1]),
        ("tcp", "[{match: [{destinationSubnets: [10.0.0.0/8]}], route: R}, {route: R}]", []),
        ("tcp", "[{match: [{port: 80}], route: R}, {route: R}]", []),
        ("tcp", "[{match: [{sourceLabels: {a: b}}], route: R}, {route: R}, {route: R}]", [2]),
        ("tls", "[{match: [{sniHosts: [a.x]}], route: R}, {match: [{sniHosts: [b.x]}], route: R}]", []),
        ("tls", "[{match: [{sniHosts: [a.x, b.x]}], route: R}, {match: [{sniHosts: [b.x]}], route: R}]",
         [1]),
        ("tls", "[{match: [{sniHosts: [a.x], port: 1}], route: R}, {match: [{sniHosts: [a.x]}], route: R}]",
         []),
    ],
)  # fmt: skip
def test_rules_for_connections_that_others_come_before(
    part: str, rules: str, unreached: list[int]
) -> None:
    """Those that ask for no address, port or source; of server names the same ones."""
    to_cart = "[{destination: {host: cart, port: {number: 80}}}]"
    spec = f"hosts: [cart, '*.x']\n{part}: {rules.replace('R}', to_cart + '}')}"
    ports = {"tcp": "tcp-a:80", "tls": "tls-a:80"}
    mesh = SmallMesh(service("cart", ports[part]), istio("VirtualService", "v", spec))
    expected = [("MZ0402", "VirtualService shop/v", f"spec.{part}[{n}]") for n in unreached]
    assert [found for found in mesh.findings() if found[0] == "MZ0402"] == expected


@pytest.mark.parametrize(
    ("part", "port", "in_force"),
    [
        ("http", "http:80", True),
        ("http", "any:80", True),
        ("http", "tcp:80", False),
        ("tcp", "tcp:80", True),
        ("tcp", "any:80", True),
        ("tcp", "tls:80", False),
        ("tls", "https:80", True),
        ("tls", "http:80", False),
    ],
)
def test_rules_need_a_port_that_speaks_it(part: str, port: str, in_force: bool) -> None:
    """Of some service that the hosts mean; on a gateway it is the servers' business."""
    match = "match: [{sniHosts: [cart]}], " if part == "tls" else ""
    route = "route: [{destination: {host: cart, port: {number: 80}}}]"
    spec = f"hosts: [cart]\n{part}: [{{{match}{route}}}]"
    mesh = SmallMesh(service("cart", port), istio("VirtualService", "v", spec))
    told = [("MZ0312", "VirtualService shop/v", f"spec.{part}")]
    assert mesh.findings() == ([] if in_force else told)


@pytest.mark.parametrize(
    ("rules", "ports", "path"),
    [
        ("tcp: [{match: [{port: 7000}], route: R}]", "UNSET", "spec.tcp[0]"),
        ("tcp: [{route: R}]", "UNSET", "spec.tcp"),
        ("tcp: [{match: [{port: 7000}], route: R}]", "TCP", ""),
        ("http: [{route: R}]", "UNSET", ""),
    ],
)
def test_bytes_of_an_undeclared_port_without_address_are_nobodys(
    rules: str, ports: str, path: str
) -> None:
    """Only HTTP is told apart there, by its host."""
    protocol = "" if ports == "UNSET" else ", protocol: TCP"
    spec = f"""
        hosts: [a.test]
        resolution: STATIC
        ports: [{{number: 7000, name: any{protocol}}}]
        endpoints: [{{address: 10.1.0.1}}]
    """
    route = rules.replace("R", "[{destination: {host: a.test, port: {number: 7000}}}]")
    mesh = SmallMesh(
        istio("ServiceEntry", "e", spec), istio("VirtualService", "v", f"hosts: [a.test]\n{route}")
    )
    assert mesh.findings() == ([("MZ0312", "VirtualService shop/v", path)] if path else [])


@pytest.mark.parametrize(
    ("resolution", "address", "told"),
    [
        ("STATIC", "10.1.0.1", []),
        ("STATIC", "vm.lan", ["resolution STATIC takes no vm.lan, which is left out"]),
        ("STATIC", "", ["resolution STATIC takes no workload without address, which is left out"]),
        ("DNS", "vm.lan", []),
        ("DNS", "unix:///s", ["resolution DNS takes no unix:///s, which is left out"]),
        ("NONE", "vm.lan", []),
        ("DNS", None, ["no pod or WorkloadEntry of shop has app=vm"]),
    ],
)
def test_who_is_selected_and_cannot_be_called(
    resolution: str, address: str | None, told: list[str]
) -> None:
    """By a ServiceEntry's workloadSelector; that it selects nobody is told too."""
    spec = f"""
        hosts: [a.test]
        resolution: {resolution}
        ports: [{{number: 80, name: a, protocol: HTTP}}]
        workloadSelector: {{labels: {{app: vm}}}}
    """
    machine = istio(
        "WorkloadEntry", "vm", f"address: '{address}'\nnetwork: far\nlabels: {{app: vm}}"
    )
    mesh = SmallMesh(istio("ServiceEntry", "e", spec), *((machine,) if address is not None else ()))
    assert mesh.messages() == told


@pytest.mark.parametrize("resolution", ["NONE", "DYNAMIC_DNS"])
def test_no_subset_of_anybodys_servers_is_empty(resolution: str) -> None:
    """Nobody knows their labels: whoever a client asks for is of every subset."""
    spec = f"""
        hosts: ['*.test']
        resolution: {resolution}
        ports: [{{number: 80, name: a, protocol: HTTP}}]
    """
    subsets = "host: '*.test'\nsubsets: [{name: v1, labels: {version: v1}}]"
    mesh = SmallMesh(istio("ServiceEntry", "e", spec), istio("DestinationRule", "r", subsets))
    assert mesh.findings() == []
