"""Endpoints: what is said of each, and what once for all of a locality."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mizzen import ir
from mizzen.render.endpoint import render_endpoints
from tests.support.show import show

_PLAIN = ir.Endpoint(address="10.0.0.1", port=8080)
_MESH = ir.Endpoint(address="10.0.0.2", port=8080, mtls=True)
_TAKES_MTLS = {"filter_metadata": {"envoy.transport_socket_match": {"tlsMode": "istio"}}}


def _localities(*groups: ir.LocalityGroup) -> list[dict[str, Any]]:
    found = show(render_endpoints(ir.EndpointGroup(cluster="c", groups=groups)))
    return list(found["endpoints"])


def _locality(*endpoints: ir.Endpoint) -> dict[str, Any]:
    (found,) = _localities(ir.LocalityGroup(locality=ir.Locality(), endpoints=endpoints))
    return found


def test_a_cluster_without_endpoints_has_an_empty_assignment() -> None:
    """Empty is an answer; no answer would leave the cluster waiting."""
    assert show(render_endpoints(ir.EndpointGroup(cluster="c"))) == {"cluster_name": "c"}


def test_an_endpoint_is_its_address() -> None:
    """What is not special is not said."""
    assert _locality(_PLAIN)["lb_endpoints"] == [
        {"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 8080}}}}
    ]


def test_weight_and_health_are_said_where_they_matter() -> None:
    """A locality weighs what its endpoints weigh together."""
    ill = replace(_PLAIN, weight=4, health=ir.Health.UNHEALTHY)
    found = _locality(_MESH, ill)
    assert found["load_balancing_weight"] == 5
    second = found["lb_endpoints"][1]
    assert (second["load_balancing_weight"], second["health_status"]) == (4, "UNHEALTHY")


def test_weights_come_to_no_more_than_envoy_can_add_up() -> None:
    """They keep their proportions, across localities; the smallest still gets something."""
    heavy = replace(_PLAIN, weight=2**32 - 1)
    here, there = _localities(
        ir.LocalityGroup(locality=ir.Locality(), endpoints=(heavy, heavy)),
        ir.LocalityGroup(locality=ir.Locality(region="r"), endpoints=(heavy, _MESH)),
    )
    weights = [entry["load_balancing_weight"] for entry in (here, there)]
    assert weights[0] + weights[1] <= 2**32 - 1
    assert round(weights[0] / weights[1], 3) == 2
    assert "load_balancing_weight" not in there["lb_endpoints"][1]


def test_a_locality_that_takes_mutual_tls_says_so_once() -> None:
    """Endpoints say it themselves only where they differ."""
    alike, mixed = _locality(_MESH, _MESH), _locality(_PLAIN, _MESH)
    assert alike["metadata"] == _TAKES_MTLS
    assert "metadata" not in alike["lb_endpoints"][0]
    assert "metadata" not in mixed
    assert [e.get("metadata") for e in mixed["lb_endpoints"]] == [None, _TAKES_MTLS]


def test_localities_keep_place_and_priority() -> None:
    """Region, zone and subzone as they are known."""
    here = ir.Locality(region="r", zone="z", subzone="s")
    near, far = _localities(
        ir.LocalityGroup(locality=here, endpoints=(_PLAIN,)),
        ir.LocalityGroup(locality=ir.Locality(region="q"), endpoints=(_PLAIN,), priority=1),
    )
    assert near["locality"] == {"region": "r", "zone": "z", "sub_zone": "s"}
    assert (far["locality"], far["priority"]) == ({"region": "q"}, 1)
