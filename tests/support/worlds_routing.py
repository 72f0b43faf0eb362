"""Random VirtualServices, delegates among them, for random worlds."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from mizzen.model.meta import NO_LABELS, labels
from mizzen.model.routing import (
    Abort,
    ConnectionMatch,
    ConnectionRule,
    Cors,
    Delegate,
    Destination,
    Fault,
    HttpMatch,
    HttpRoute,
    MatchKind,
    Mirror,
    Redirect,
    Retries,
    RouteDestination,
    StringMatch,
    VirtualService,
)

if TYPE_CHECKING:
    from mizzen.model.meta import ExportTo, Meta

_SOURCE: Final = labels({"app": "web"})
_GATEWAYS: Final = ((), (), ("mesh",), ("istio-system/web",))

_matches = st.builds(
    HttpMatch,
    uri=st.sampled_from((None, StringMatch(MatchKind.PREFIX, "/a"))),
    port=st.sampled_from((None, None, 80)),
    gateways=st.sampled_from(_GATEWAYS),
    source_labels=st.sampled_from((NO_LABELS, NO_LABELS, _SOURCE)),
    source_namespace=st.sampled_from(("", "", "bank")),
)
_connection_matches = st.builds(
    ConnectionMatch,
    destination_subnets=st.sampled_from(((), (), ("10.96.0.0/16",))),
    port=st.sampled_from((None, None, 80, 8080)),
    gateways=st.sampled_from(_GATEWAYS),
    source_labels=st.sampled_from((NO_LABELS, NO_LABELS, _SOURCE)),
    source_namespace=st.sampled_from(("", "", "bank")),
)


def virtual_services(
    *,
    meta: st.SearchStrategy[Meta],
    hosts: st.SearchStrategy[str],
    export_to: st.SearchStrategy[ExportTo],
    names: tuple[str, ...],
    of: tuple[str, ...],
) -> st.SearchStrategy[VirtualService]:
    """Return VirtualServices; ``of`` are the hosts sent to, ``names`` those of delegates."""
    http = st.lists(_rules(of) | _delegating(names), max_size=2).map(tuple)
    common = {"meta": meta, "export_to": export_to, "http": http}
    routed = st.builds(
        VirtualService,
        **common,
        hosts=st.lists(hosts, min_size=1, max_size=2, unique=True).map(tuple),
        gateways=st.sampled_from((("mesh",), ("istio-system/web",), ("mesh", "istio-system/web"))),
        tls=st.lists(_tls(of), max_size=1).map(tuple),
        tcp=st.lists(_tcp(of), max_size=2).map(tuple),
    )
    return st.one_of(routed, routed, st.builds(VirtualService, **common, hosts=st.just(())))


def _destinations(of: tuple[str, ...]) -> st.SearchStrategy[RouteDestination]:
    return st.builds(
        RouteDestination,
        destination=st.builds(
            Destination,
            host=st.sampled_from(of),
            subset=st.sampled_from(("", "v1", "v2")),
            port=st.sampled_from((None, 80, 8080)),
        ),
        weight=st.integers(0, 2),
    )


def _rules(of: tuple[str, ...]) -> st.SearchStrategy[HttpRoute]:
    mirrors = st.builds(Mirror, destination=st.builds(Destination, host=st.sampled_from(of)))
    routed = st.builds(
        HttpRoute,
        match=st.lists(_matches, max_size=2).map(tuple),
        route=st.lists(_destinations(of), min_size=1, max_size=2).map(tuple),
        timeout=st.sampled_from((None, timedelta(seconds=3))),
        retries=st.sampled_from(
            (None, Retries(attempts=0), Retries(attempts=3, retry_on="5xx,429"))
        ),
        mirrors=st.lists(mirrors, max_size=1).map(tuple),
        fault=st.sampled_from((None, None, Fault(abort=Abort(http_status=500, percent=1)))),
        cors=st.sampled_from((None, None, Cors(allow_methods=("GET",)))),
    )
    return routed | st.just(HttpRoute(redirect=Redirect(uri="/elsewhere")))


def _delegating(names: tuple[str, ...]) -> st.SearchStrategy[HttpRoute]:
    delegates = st.builds(
        Delegate, name=st.sampled_from(names), namespace=st.sampled_from(("", "shop", "bank"))
    )
    return st.builds(HttpRoute, match=st.lists(_matches, max_size=1).map(tuple), delegate=delegates)


def _tcp(of: tuple[str, ...]) -> st.SearchStrategy[ConnectionRule]:
    return st.builds(
        ConnectionRule,
        match=st.lists(_connection_matches, max_size=2).map(tuple),
        route=st.lists(_destinations(of), min_size=1, max_size=2).map(tuple),
    )


def _tls(of: tuple[str, ...]) -> st.SearchStrategy[ConnectionRule]:
    named = st.builds(
        ConnectionMatch,
        sni_hosts=st.sampled_from((("a.example.com",), ("*.example.com", "b.example.com"))),
        port=st.sampled_from((None, 80)),
        source_labels=st.sampled_from((NO_LABELS, _SOURCE)),
    )
    return st.builds(
        ConnectionRule,
        match=st.lists(named, min_size=1, max_size=2).map(tuple),
        route=st.lists(_destinations(of), min_size=1, max_size=2).map(tuple),
    )
