"""Servers of keys: how a proxy gets to what a ``jwksUri`` names.

A service of the mesh is called as by everyone. What no service gives, and what has to be called over TLS by
a way that does not speak it, has a cluster of its own: by DNS, and with TLS to the system's roots where the
URL says https. So keys are had as with Istio, whose control plane fetches them, without a ServiceEntry; and
the control plane calls no address that somebody has written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mizzen.ir import (
    Discovery,
    Endpoint,
    EndpointGroup,
    LocalityGroup,
    Plaintext,
    SimpleTls,
    Upstream,
    UpstreamHttp,
)
from mizzen.model.destination import ConnectionPool, LoadBalancer
from mizzen.model.kube import Protocol
from mizzen.model.place import Locality
from mizzen.names import outbound_cluster
from mizzen.resolve.asked import cluster_at
from mizzen.resolve.upstreams import upstreams
from mizzen.resolve.world import settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.proxy import Scope

_HTTPS: Final = "https"
# In the place of a subset, whose names cannot begin so.
_OVER_TLS, _PLAIN = "_keys", "_plain-keys"


def key_server(db: Database, scope: Scope, place: str) -> tuple[str, Upstream | None]:
    """Return the cluster through which keys are fetched, and the upstream where it is of their own.

    The name is empty where a host of the mesh is not there.
    """
    host, port = host_and_port(place)
    over_tls = urlsplit(place).scheme == _HTTPS
    cluster = cluster_at(db, scope, host, port)
    if cluster and (not over_tls or _speaks_tls(db, scope, host, port)):
        return cluster, None
    if not cluster and is_of_mesh(db, host):
        return "", None
    own = _own(db, host, port, over_tls=over_tls)
    return own.name, own


def host_and_port(place: str) -> tuple[str, int]:
    """Return the host and port of an http or https URL."""
    found = urlsplit(place)
    return found.hostname or "", found.port or (443 if found.scheme == _HTTPS else 80)


def is_of_mesh(db: Database, host: str) -> bool:
    """Tell whether only the mesh could have a host: a short name, or one of the cluster's domain."""
    return ("." not in host.strip("[]") and ":" not in host) or host.endswith(settings(db).domain)


def _speaks_tls(db: Database, scope: Scope, host: str, port: int) -> bool:
    """Tell whether TLS of its own is spoken to a service, because a DestinationRule says so."""
    found = (one for one in upstreams(db, (scope, host)) if (one.port, one.subset) == (port, ""))
    return any(isinstance(upstream.tls, SimpleTls) for upstream in found)


def _tls(host: str) -> SimpleTls:
    """Return TLS with a host; an address is no server name (RFC 6066)."""
    return SimpleTls(sni="" if _is_address(host) else host, subject_alt_names=(host,))


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _own(db: Database, host: str, port: int, *, over_tls: bool) -> Upstream:
    subset = _OVER_TLS if over_tls else _PLAIN
    name = outbound_cluster(port, subset, host)
    group = LocalityGroup(locality=Locality(), endpoints=(Endpoint(address=host, port=port),))
    return Upstream(
        host=host,
        port=port,
        subset=subset,
        discovery=Discovery.DNS,
        protocol=Protocol.HTTP,
        http=UpstreamHttp.HTTP1,
        tls=_tls(host) if over_tls else Plaintext(),
        endpoints=EndpointGroup(cluster=name, groups=(group,)),
        load_balancer=LoadBalancer(),
        connection_pool=ConnectionPool(),
        outlier_detection=None,
        connect_timeout=settings(db).connect_timeout,
        service_name=host,
        service_namespace="",
        external=True,
    )
