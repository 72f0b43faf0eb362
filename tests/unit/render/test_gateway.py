"""A gateway's listeners, and the secrets that they name."""

from __future__ import annotations

from base64 import b64decode
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from mizzen import ir
from mizzen.model.edge import ClientCertificates, Edge, EscapedSlashes, Underscores
from mizzen.model.gateway import TlsVersion
from mizzen.model.kube import PrivateBytes
from mizzen.render.gateway import render_gateway
from mizzen.render.secrets import render_secret
from tests.support.show import show

if TYPE_CHECKING:
    from tests.support.show import Shown

_SECOND: Final = timedelta(seconds=1)


def _shown(
    *chains: ir.GatewayChain, bind: str = "0.0.0.0", port: int = 8443, edge: Edge | None = None
) -> Shown:
    listener = ir.GatewayListener(
        bind=bind, port=port, chains=chains, authorization=ir.OPEN, edge=edge or Edge()
    )
    return show(render_gateway(listener))


def _manager(edge: Edge) -> Shown:
    (chain,) = _shown(ir.GatewayChain(routes="http.8080"), edge=edge)["filter_chains"]
    manager: Shown = chain["filters"][0]["typed_config"]
    return manager


def _tls(end: ir.TlsEnd) -> Shown:
    chain = ir.GatewayChain(server_names=("a.example.com",), end=end, routes="https.443.a.b.c")
    (found,) = _shown(chain)["filter_chains"]
    context: Shown = found["transport_socket"]["typed_config"]
    return context


def test_a_listener_may_be_a_socket() -> None:
    """Its path is the address."""
    shown = _shown(ir.GatewayChain(routes="http.0"), bind="unix:///run/gate.sock", port=0)
    assert shown["address"] == {"pipe": {"path": "/run/gate.sock"}}
    assert "listener_filters" not in shown


def test_tls_is_looked_at_from_the_first_server_on() -> None:
    """Also where its name does not matter."""
    shown = _shown(
        ir.GatewayChain(end=ir.TlsEnd(certificates=("default",)), routes="https.1.a.b.c")
    )
    (filter_,) = shown["listener_filters"]
    assert filter_["name"] == "envoy.filters.listener.tls_inspector"
    assert "filter_chain_match" not in shown["filter_chains"][0]


def test_what_users_wrote_is_not_waited_for_without_end() -> None:
    """The mesh's own always comes."""
    context = _tls(ir.TlsEnd(certificates=("default", "kubernetes://web")))
    own, written = context["common_tls_context"]["tls_certificate_sds_secret_configs"]
    assert own["sds_config"]["initial_fetch_timeout"] == "0s"
    assert written["sds_config"]["initial_fetch_timeout"] == "5s"
    assert "require_client_certificate" not in context


def test_clients_are_verified_as_is_said() -> None:
    """With roots, names and hashes; or whoever they are."""
    end = ir.TlsEnd(
        certificates=("kubernetes://web",),
        roots="kubernetes://web-cacert",
        asks=True,
        demands=True,
        subject_alt_names=("a.example", "spiffe://b/c"),
        key_hashes=("k",),
        certificate_hashes=("h",),
        min_version=TlsVersion.V1_0,
        max_version=TlsVersion.V1_1,
        ciphers=("AES128-SHA",),
        protocols=("h2",),
    )
    context = _tls(end)
    common = context["common_tls_context"]
    combined = common["combined_validation_context"]
    assert context["require_client_certificate"] is True
    assert combined["validation_context_sds_secret_config"]["name"] == "kubernetes://web-cacert"
    assert combined["default_validation_context"] == {
        "match_typed_subject_alt_names": [
            {"san_type": "DNS", "matcher": {"exact": "a.example"}},
            {"san_type": "URI", "matcher": {"exact": "spiffe://b/c"}},
        ],
        "verify_certificate_hash": ["h"],
        "verify_certificate_spki": ["k"],
    }
    assert common["tls_params"] == {
        "tls_minimum_protocol_version": "TLSv1_0",
        "tls_maximum_protocol_version": "TLSv1_1",
        "cipher_suites": ["AES128-SHA"],
    }
    assert common["alpn_protocols"] == ["h2"]


def test_clients_may_be_anybody() -> None:
    """They are asked for a certificate all the same."""
    context = _tls(ir.TlsEnd(certificates=("a",), asks=True, insecure_skip_verify=True))
    assert context["require_client_certificate"] is False
    assert context["common_tls_context"]["validation_context"] == {
        "trust_chain_verification": "ACCEPT_UNTRUSTED"
    }


def test_what_a_gateway_bears_with_is_in_its_listener() -> None:
    """The PROXY protocol comes before anything else of a connection."""
    shown = _shown(
        ir.GatewayChain(tls=True, tcp=ir.TcpProxy(cluster="a")),
        edge=Edge(buffer_bytes=9, proxy_protocol=True),
    )
    assert shown["per_connection_buffer_limit_bytes"] == 9
    assert [one["name"].rpartition(".")[2] for one in shown["listener_filters"]] == [
        "proxy_protocol",
        "tls_inspector",
    ]


@pytest.mark.parametrize(
    ("edge", "field", "value"),
    [
        (Edge(idle_timeout=_SECOND), "common_http_protocol_options", {"idle_timeout": "1s"}),
        (Edge(request_timeout=_SECOND), "request_timeout", "1s"),
        (Edge(headers_timeout=_SECOND), "request_headers_timeout", "1s"),
        (Edge(stream_idle_timeout=_SECOND), "stream_idle_timeout", "1s"),
        (
            Edge(connection_requests=1),
            "common_http_protocol_options",
            {"max_requests_per_connection": 1},
        ),
        (Edge(max_streams=7), "http2_protocol_options", {"max_concurrent_streams": 7}),
        (
            Edge(stream_window_bytes=8, connection_window_bytes=9),
            "http2_protocol_options",
            {"initial_stream_window_size": 8, "initial_connection_window_size": 9},
        ),
        (
            Edge(underscores=Underscores.DROP_HEADER),
            "common_http_protocol_options",
            {"headers_with_underscores_action": "DROP_HEADER"},
        ),
        (Edge(merge_slashes=True), "merge_slashes", True),
        (
            Edge(escaped_slashes=EscapedSlashes.REJECT_REQUEST),
            "path_with_escaped_slashes_action",
            "REJECT_REQUEST",
        ),
        (Edge(trusted_hops=2), "xff_num_trusted_hops", 2),
        (
            Edge(client_certificates=ClientCertificates.APPEND_FORWARD),
            "forward_client_cert_details",
            "APPEND_FORWARD",
        ),
        (Edge(), "forward_client_cert_details", "SANITIZE_SET"),
        (Edge(), "stream_idle_timeout", "0s"),
    ],
)
def test_what_a_gateway_bears_with_is_in_its_http(edge: Edge, field: str, value: object) -> None:
    """What is not said is as on any gateway."""
    assert _manager(edge)[field] == value


def _bytes(text: str) -> bytes:
    return b64decode(text)


def test_a_secret_carries_what_was_written() -> None:
    """The chain, the key, and what else there is."""
    held = ir.HeldCertificate(
        name="kubernetes://web", chain=b"chain", key=PrivateBytes(b"key"), staple=b"staple"
    )
    shown = show(render_secret(held))["tls_certificate"]
    assert {name: _bytes(one["inline_bytes"]) for name, one in shown.items()} == {
        "certificate_chain": b"chain",
        "private_key": b"key",
        "ocsp_staple": b"staple",
    }
    roots = ir.HeldRoots(name="kubernetes://web-cacert", roots=b"roots", revoked=b"list")
    shown = show(render_secret(roots))["validation_context"]
    assert {name: _bytes(one["inline_bytes"]) for name, one in shown.items()} == {
        "trusted_ca": b"roots",
        "crl": b"list",
    }


@pytest.mark.parametrize(
    ("held", "field", "said"),
    [
        (
            ir.CertificateOnDisk(name="n", chain="/t/c", key="/t/k"),
            "tls_certificate",
            {
                "certificate_chain": {"filename": "/t/c"},
                "private_key": {"filename": "/t/k"},
                "watched_directory": {"path": "/t"},
            },
        ),
        (
            ir.CertificateOnDisk(name="n", chain="/a/c", key="/b/k"),
            "tls_certificate",
            {"certificate_chain": {"filename": "/a/c"}, "private_key": {"filename": "/b/k"}},
        ),
        (
            ir.RootsOnDisk(name="n", roots="/t/ca"),
            "validation_context",
            {"trusted_ca": {"filename": "/t/ca"}, "watched_directory": {"path": "/t"}},
        ),
        (
            ir.RootsOnDisk(name="n", roots="/t/ca", revoked="/l/crl"),
            "validation_context",
            {"trusted_ca": {"filename": "/t/ca"}, "crl": {"filename": "/l/crl"}},
        ),
    ],
)
def test_files_are_named_and_their_folder_is_watched(
    held: ir.HeldSecret, field: str, said: Shown
) -> None:
    """Where they have one in common; each by itself otherwise."""
    assert show(render_secret(held))[field] == said
