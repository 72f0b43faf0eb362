"""Random Gateways, and the Secrets that their servers name, for random worlds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from mizzen.model.gateway import (
    CertificateFiles,
    Gateway,
    Server,
    ServerTls,
    ServerTlsMode,
    TlsVersion,
)
from mizzen.model.kube import PrivateBytes, Protocol, Secret, ServicePort
from mizzen.model.meta import Meta, labels

if TYPE_CHECKING:
    from mizzen.model.meta import Labels

_CREDENTIALS: Final = ("one", "two")
# What is in them no property asks for; only what kind of thing each is.
_CHAIN: Final = tuple(f"-----BEGIN CERTIFICATE----- {n}".encode() for n in range(2))
_KEY: Final = b"-----BEGIN PRIVATE KEY-----"

PASSING: Final = Gateway(
    meta=Meta(kind="Gateway", namespace="shop", name="passing"),
    selector=labels({"istio": "ingressgateway"}),
    servers=(
        Server(
            port=ServicePort(name="p", number=443, protocol=Protocol.TLS),
            hosts=("*",),
            tls=ServerTls(mode=ServerTlsMode.AUTO_PASSTHROUGH),
        ),
    ),
)
"""A Gateway by which the worlds' router passes all mutual TLS on."""


def gateways(
    *, meta: st.SearchStrategy[Meta], selectors: st.SearchStrategy[Labels]
) -> st.SearchStrategy[Gateway]:
    """Return Gateways with up to two servers, which may contend for a port or for a name."""
    servers = st.one_of(_plain, _plain, _servers(Protocol.TCP), _encrypted, _encrypted)
    return st.builds(
        Gateway,
        meta=meta,
        selector=selectors,
        servers=st.lists(servers, max_size=2).map(tuple),
    )


def passing_gateways(
    *, meta: st.SearchStrategy[Meta], selector: Labels
) -> st.SearchStrategy[Gateway]:
    """Return Gateways that pass mutual TLS on, to hosts that there may be."""
    hosts = st.sampled_from(
        (
            "*",
            "*.example.com",
            "api.example.com",
            "*.svc.cluster.local",
            "cart.shop",
            "web.shop.svc",
        )
    )
    servers = st.builds(
        Server,
        port=st.sampled_from((80, 9000)).map(
            lambda number: ServicePort(name="p", number=number, protocol=Protocol.TLS)
        ),
        hosts=st.lists(hosts, min_size=1, max_size=2).map(tuple),
        tls=st.sampled_from(
            (
                *3 * (ServerTls(mode=ServerTlsMode.AUTO_PASSTHROUGH),),
                ServerTls(mode=ServerTlsMode.ISTIO_MUTUAL),
            )
        ),
    )
    return st.builds(
        Gateway,
        meta=meta,
        selector=st.just(selector),
        servers=st.lists(servers, min_size=1, max_size=2).map(tuple),
    )


def secrets(namespaces: tuple[str, ...]) -> st.SearchStrategy[Secret]:
    """Return Secrets with all, some or none of what servers look for in them."""
    meta = st.builds(
        Meta,
        kind=st.just("Secret"),
        namespace=st.sampled_from(namespaces),
        name=st.sampled_from((*_CREDENTIALS, "one-cacert")),
    )
    parts = st.fixed_dictionaries(
        {},
        optional={
            "tls.crt": st.sampled_from(_CHAIN),
            "tls.key": st.just(_KEY),
            "ca.crt": st.sampled_from(_CHAIN),
            "cert": st.just(_CHAIN[0]),
            "key": st.just(_KEY),
        },
    )
    data = parts.map(
        lambda found: tuple((name, PrivateBytes(found[name])) for name in sorted(found))
    )
    return st.builds(Secret, meta=meta, data=data)


def _servers(
    protocol: Protocol, **more: st.SearchStrategy[bool] | st.SearchStrategy[ServerTls]
) -> st.SearchStrategy[Server]:
    port = st.builds(
        ServicePort,
        name=st.just("p"),
        number=st.sampled_from((80, 8080, 9000)),
        protocol=st.just(protocol),
    )
    hosts = st.sampled_from(
        ("*", "*.example.com", "shop/*", "./api.example.com", "*.shop.svc.cluster.local")
    )
    return st.builds(
        Server,
        port=port,
        hosts=st.lists(hosts, min_size=1, max_size=2).map(tuple),
        **more,
    )


_plain: Final = _servers(Protocol.HTTP, https_redirect=st.booleans())
_credentials: Final = st.builds(
    ServerTls,
    mode=st.sampled_from((ServerTlsMode.SIMPLE, ServerTlsMode.MUTUAL)),
    credentials=st.sampled_from((("one",), ("two",), _CREDENTIALS)),
    ca_credential=st.sampled_from(("", "", "two")),
    min_version=st.sampled_from((TlsVersion.AUTO, TlsVersion.V1_3)),
)
_settings: Final = st.one_of(
    _credentials,
    _credentials,
    st.sampled_from(
        (
            ServerTls(mode=ServerTlsMode.PASSTHROUGH),
            ServerTls(mode=ServerTlsMode.PASSTHROUGH),
            ServerTls(mode=ServerTlsMode.AUTO_PASSTHROUGH),
            ServerTls(mode=ServerTlsMode.AUTO_PASSTHROUGH),
            ServerTls(mode=ServerTlsMode.AUTO_PASSTHROUGH),
            ServerTls(mode=ServerTlsMode.ISTIO_MUTUAL),
            ServerTls(
                mode=ServerTlsMode.OPTIONAL_MUTUAL,
                files=(CertificateFiles(certificate="/tls/tls.crt", key="/tls/tls.key"),),
                ca_file="/tls/ca.crt",
            ),
        )
    ),
)
_encrypted: Final = st.one_of(
    _servers(Protocol.HTTPS, tls=_settings), _servers(Protocol.TLS, tls=_settings)
)
