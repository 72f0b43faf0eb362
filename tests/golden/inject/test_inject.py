"""Pods in, the same pods with their proxies out, compared with kept files.

A kept file shows what is added in a form that can be read: of the bootstrap who the node is and what is open
on 15020, and of the init container's program its IPv4 rules. The rest of both has goldens of its own.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from mizzen_operator.inject.decide import INIT, PROXY
from mizzen_operator.inject.pod import inject_pod
from mizzen_operator.inject.settings import InjectSettings

if TYPE_CHECKING:
    from mizzen_operator.inject.raw import Json

_HERE: Final = Path(__file__).parent
_CASES: Final = sorted(file.name.removesuffix(".in.yaml") for file in _HERE.glob("*.in.yaml"))
_CONTROL_PLANE: Final = "xds-grpc"
_STATIC: Final = (_CONTROL_PLANE, "prometheus_stats", "local_cluster")


def _settings(wanted: Json) -> InjectSettings:
    version = wanted.pop("version", None)
    settings = InjectSettings(init_image="mizzen/init:golden", **wanted)
    return settings.for_version(*version) if version else settings


@pytest.mark.parametrize("case", _CASES)
def test_a_pod_is_injected_as_it_was_reviewed(case: str, update_golden: bool) -> None:
    """The same pod and settings give the same pod with its proxy, and the pod given is left alone."""
    *head, pod = yaml.safe_load_all((_HERE / f"{case}.in.yaml").read_text(encoding="utf-8"))
    given = copy.deepcopy(pod)
    injected = inject_pod(pod, _settings(head[0]["settings"] if head else {}))
    assert pod == given
    text = yaml.safe_dump_all(
        [{"warnings": list(injected.warnings)}, _readable(injected.pod)], sort_keys=False, width=110
    )
    file = _HERE / f"{case}.out.yaml"
    if update_golden:
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_every_kept_file_belongs_to_a_case() -> None:
    """No golden is left over from a case that is gone."""
    kept = {file.name.removesuffix(".out.yaml") for file in _HERE.glob("*.out.yaml")}
    assert kept == set(_CASES)


def _readable(pod: Json) -> Json:
    shown = copy.deepcopy(pod)
    for container in (*shown["spec"].get("initContainers", ()), *shown["spec"]["containers"]):
        if container["name"] == INIT:
            container["args"] = [_rules(container["args"][0])]
        elif container["name"] == PROXY:
            words = container["args"]
            words[1] = _bootstrap(json.loads(words[1]))
    return shown


def _rules(program: str) -> list[str]:
    return program.partition("rules_v4='")[2].partition("'")[0].splitlines()


def _bootstrap(bootstrap: Json) -> Json:
    static = bootstrap["static_resources"]
    return {
        "node": bootstrap["node"],
        "control plane": next(
            _host(one) for one in static["clusters"] if one["name"] == _CONTROL_PLANE
        ),
        "clusters": {
            one["name"]: _cluster(one) for one in static["clusters"] if one["name"] not in _STATIC
        },
        "listeners": {one["name"]: _address(one["address"]) for one in static["listeners"]},
        "15020": _answers(static["listeners"][-1]),
    }


def _cluster(cluster: Json) -> dict[str, Any]:
    shown = {
        "address": _host(cluster),
        "from": cluster["upstream_bind_config"]["source_address"]["address"],
    }
    checks = {"health_checks": cluster["health_checks"]} if "health_checks" in cluster else {}
    return shown | checks


def _host(cluster: Json) -> str:
    host = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    return _address(host["address"])


def _address(message: Json) -> str:
    socket = message["socket_address"]
    return f"{socket['address']} {socket['port_value']}"


def _answers(listener: Json) -> dict[str, list[str]]:
    return {chain["name"]: _chain(chain) for chain in listener["filter_chains"]}


def _chain(chain: Json) -> list[str]:
    manager = chain["filters"][0]["typed_config"]
    checked = [
        f"{name} is healthy"
        for one in manager["http_filters"]
        for name in one["typed_config"].get("cluster_min_healthy_percentages", ())
    ]
    return checked + [_route(one) for one in manager["route_config"]["virtual_hosts"][0]["routes"]]


def _route(route: Json) -> str:
    action = route.get("route", {})
    words = [
        route["name"],
        action.get("cluster", "answered here"),
        action.get("prefix_rewrite", ""),
        f"as {host}" if (host := action.get("host_rewrite_literal")) else "",
        f"within {timeout}" if (timeout := action.get("timeout")) else "",
        "merged" if "lua" in json.dumps(route) else "",
    ]
    return " ".join(word for word in words if word)
