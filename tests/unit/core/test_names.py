"""Names of objects, hosts, and what Envoy sees."""

from __future__ import annotations

import pytest

from mizzen import names
from mizzen.model.kube import PrivateBytes, Protocol
from mizzen.model.meta import ExportTo, Meta, label, labels, selects, visible_from
from mizzen.model.proxy import ProxyKind, parse_node_id
from mizzen.names import DEFAULT_REGISTRY, ObjectKey


@pytest.mark.parametrize(
    ("namespace", "text"), [("shop", "Service shop/cart"), ("", "Service cart")]
)
def test_a_key_reads_as_kind_and_name(namespace: str, text: str) -> None:
    """Cluster-wide objects have no namespace to show."""
    assert str(ObjectKey(DEFAULT_REGISTRY, "Service", namespace, "cart")) == text


def test_the_label_of_a_key_leaves_the_namespace_out() -> None:
    """The kind and the bare name."""
    assert ObjectKey(DEFAULT_REGISTRY, "Service", "shop", "cart").label == "Service cart"


@pytest.mark.parametrize(
    ("host", "resolved"),
    [
        ("cart", "cart.shop.svc.cluster.local"),
        ("Cart", "cart.shop.svc.cluster.local"),
        ("cart.bank", "cart.bank"),
        ("cart.bank.svc.cluster.local", "cart.bank.svc.cluster.local"),
        ("*", "*"),
        ("*.Example.com", "*.example.com"),
    ],
)
def test_only_a_name_without_dots_is_short(host: str, resolved: str) -> None:
    """Dotted and wildcard hosts are taken literally, in lower case."""
    assert names.resolve_host(host, "shop") == resolved


def test_the_domain_is_a_setting() -> None:
    """Short names end in the cluster's own domain."""
    assert names.resolve_host("cart", "shop", "mesh.test") == "cart.shop.svc.mesh.test"


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("a.example.com", "a.example.com", True),
        ("a.example.com", "b.example.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "*.example.com", True),
        ("*.example.com", "*.a.example.com", True),
        ("*.example.com", "*.com", False),
        ("*.example.com", "*", False),
        ("*", "a", True),
        ("*", "*", True),
        ("a.example.com", "*.example.com", False),
    ],
)
def test_a_pattern_holds_hosts_and_narrower_patterns(
    pattern: str, host: str, *, matches: bool
) -> None:
    """``*.x`` holds every host below x, but not x."""
    assert names.host_matches(pattern, host) is matches


@pytest.mark.parametrize(
    ("host", "covering"),
    [
        ("a.b.c", ("a.b.c", "*.b.c", "*.c", "*")),
        ("*.b.c", ("*.b.c", "*.c", "*")),
        ("a", ("a", "*")),
        ("*", ("*",)),
    ],
)
def test_covering_patterns_come_the_most_specific_first(
    host: str, covering: tuple[str, ...]
) -> None:
    """Itself, then shorter and shorter suffixes, each once, and each does match."""
    assert names.covering_hosts(host) == covering
    assert all(names.host_matches(pattern, host) for pattern in covering)


def test_names_follow_istio() -> None:
    """Dashboards and patches rely on these forms."""
    assert names.outbound_cluster(80, "v1", "a.b") == "outbound|80|v1|a.b"
    assert names.inbound_cluster(80) == "inbound|80||"
    assert names.subset_sni(80, "", "a.b") == "outbound_.80_._.a.b"
    assert names.listener_name("0.0.0.0", 80) == "0.0.0.0_80"


def test_a_virtual_hosts_name_says_where_it_belongs() -> None:
    """Route configuration and host are joined by a slash, and found again."""
    name = names.virtual_host_name("a.b:80", "a.b")
    assert name == "a.b:80/a.b"
    assert names.route_configuration_of(name) == "a.b:80"


@pytest.mark.parametrize(
    ("export_to", "seen_from"),
    [
        (("*",), {"shop", "bank", ""}),
        ((".",), {"shop"}),
        (("bank",), {"bank"}),
        ((".", "bank"), {"shop", "bank"}),
        (("~",), set()),
    ],
)
def test_visibility_is_what_export_to_says(export_to: tuple[str, ...], seen_from: set[str]) -> None:
    """``*`` is everyone, ``.`` the own namespace, ``~`` no one; the viewer without one sees what all see."""
    visible = {
        namespace
        for namespace in ("shop", "bank", "")
        if visible_from(namespace, owner="shop", export_to=ExportTo(export_to))
    }
    assert visible == seen_from


@pytest.mark.parametrize(
    ("selector", "selected"),
    [({}, True), ({"a": "1"}, True), ({"a": "2"}, False), ({"a": "1", "c": "3"}, False)],
)
def test_a_selector_wants_all_its_pairs(selector: dict[str, str], *, selected: bool) -> None:
    """An empty one selects everything."""
    assert selects(labels(selector), labels({"b": "2", "a": "1"})) is selected


def test_labels_have_one_order() -> None:
    """The order of writing is not part of their meaning."""
    assert labels({"b": "2", "a": "1"}) == labels({"a": "1", "b": "2"}) == (("a", "1"), ("b", "2"))
    assert label(labels({"a": "1"}), "b", "none") == "none"


def test_the_oldest_goes_first_then_names() -> None:
    """Creation, then name, then namespace."""
    metas = [
        Meta(kind="K", namespace="a", name="z", created_s=1),
        Meta(kind="K", namespace="a", name="y", created_s=2),
        Meta(kind="K", namespace="b", name="y", created_s=2),
        Meta(kind="K", namespace="a", name="x", created_s=3),
    ]
    youngest_first = [metas[3], metas[1], metas[2], metas[0]]
    assert sorted(youngest_first, key=lambda meta: meta.age_rank) == metas


@pytest.mark.parametrize(
    ("node_id", "parsed"),
    [
        (
            "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local",
            (ProxyKind.SIDECAR, "10.0.0.1", "web-1", "shop"),
        ),
        ("router~::1~a.b.ns~x", (ProxyKind.ROUTER, "::1", "a.b", "ns")),
    ],
)
def test_a_node_id_has_four_parts(node_id: str, parsed: tuple[ProxyKind, str, str, str]) -> None:
    """Kind, address, pod and namespace; a pod's name may have dots."""
    assert parse_node_id(node_id) == parsed


@pytest.mark.parametrize(
    "node_id",
    ["", "sidecar~1~web.shop", "waypoint~1~web.shop~d", "sidecar~1~web~d", "sidecar~1~.shop~d"],
)
def test_another_node_id_is_refused(node_id: str) -> None:
    """The message shows the form that is wanted."""
    with pytest.raises(ValueError, match="is not <type>~<ip>"):
        parse_node_id(node_id)


@pytest.mark.parametrize(
    ("protocol", "http", "http2", "tcp"),
    [
        (Protocol.HTTP, True, False, False),
        (Protocol.GRPC, True, True, False),
        (Protocol.HTTPS, False, False, True),
        (Protocol.MYSQL, False, False, True),
        (Protocol.UDP, False, False, False),
        (Protocol.UNSET, False, False, False),
    ],
)
def test_a_protocol_is_http_or_bytes_or_to_be_found_out(
    protocol: Protocol, *, http: bool, http2: bool, tcp: bool
) -> None:
    """TLS counts as bytes; UDP and undeclared ports are neither."""
    assert (protocol.is_http, protocol.is_http2, protocol.is_tcp) == (http, http2, tcp)


def test_private_bytes_show_nothing() -> None:
    """Neither in a message nor in a traceback."""
    secret = PrivateBytes(b"hunter2")
    assert f"{secret} {secret!r}" == "<private> <private>"
