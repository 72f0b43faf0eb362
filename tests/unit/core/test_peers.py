"""Which mutual TLS mode holds."""

from __future__ import annotations

import pytest

from mizzen.model.meta import labels
from mizzen.model.security import MtlsMode
from mizzen.resolve.peers import namespace_mode, takes_mtls, workload_modes
from tests.support.small_mesh import SmallMesh, istio

CART = ("shop", labels({"app": "cart"}))
ROOT = "istio-system"
SELECTED = "selector: {matchLabels: {app: cart}}"


def policy(name: str, mode: str = "", *more: str, **meta: object) -> str:
    lines = [*more, *([f"mtls: {{mode: {mode}}}"] if mode else [])]
    return istio("PeerAuthentication", name, "\n".join(lines) or "{}", **meta)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policies", "mode"),
    [
        ((), "PERMISSIVE"),
        ((policy("m", "STRICT", namespace=ROOT),), "STRICT"),
        ((policy("m", "STRICT", namespace=ROOT), policy("n", "DISABLE")), "DISABLE"),
        ((policy("m", "STRICT", namespace=ROOT), policy("n", "UNSET")), "STRICT"),
        ((policy("m", "STRICT", namespace=ROOT), policy("n")), "STRICT"),
        ((policy("n", "DISABLE"), policy("w", "STRICT", SELECTED)), "STRICT"),
        ((policy("n", "DISABLE"), policy("w", "UNSET", SELECTED)), "DISABLE"),
        ((policy("n", "DISABLE"), policy("w", "", SELECTED)), "DISABLE"),
        ((policy("young", "STRICT", age=2), policy("old", "DISABLE", age=1)), "DISABLE"),
        (
            (policy("y", "STRICT", SELECTED, age=2), policy("o", "DISABLE", SELECTED, age=1)),
            "DISABLE",
        ),
        ((policy("w", "STRICT", "selector: {matchLabels: {app: web}}"),), "PERMISSIVE"),
        ((policy("w", "STRICT", SELECTED, namespace=ROOT),), "PERMISSIVE"),
        ((policy("w", "STRICT", namespace="bank"),), "PERMISSIVE"),
        ((policy("n", "STRICT", "selector: {}"),), "STRICT"),
    ],
)
def test_the_most_specific_policy_that_says_something_wins(
    policies: tuple[str, ...], mode: str
) -> None:
    """Workload, namespace, mesh; the oldest of each; UNSET asks the next; selectors in the root are void."""
    assert workload_modes(SmallMesh(*policies).db, CART) == (MtlsMode(mode), ())


PORTS = "portLevelMtls: {9000: {mode: DISABLE}, 8080: {mode: UNSET}}"


def test_ports_differ_only_for_a_selected_workload() -> None:
    """portLevelMtls without a selector is void; UNSET there means the workload's own mode."""
    mesh = SmallMesh(policy("n", "STRICT"), policy("w", "PERMISSIVE", SELECTED, PORTS))
    assert workload_modes(mesh.db, CART) == (
        MtlsMode.PERMISSIVE,
        ((8080, MtlsMode.PERMISSIVE), (9000, MtlsMode.DISABLE)),
    )
    mesh.delete("PeerAuthentication", "w")
    assert workload_modes(mesh.db, CART) == (MtlsMode.STRICT, ())


def test_only_disable_keeps_mutual_tls_out() -> None:
    """On each port by itself."""
    mesh = SmallMesh(policy("w", "STRICT", SELECTED, PORTS))
    taken = [takes_mtls(mesh.db, *CART, port) for port in (8080, 9000, 1)]
    assert taken == [True, False, True]


def test_a_namespaces_mode_leaves_its_workloads_policies_out() -> None:
    """What clients of a whole namespace assume."""
    mesh = SmallMesh(policy("w", "DISABLE", SELECTED), policy("m", "STRICT", namespace=ROOT))
    assert namespace_mode(mesh.db, "shop") is MtlsMode.STRICT
    assert namespace_mode(mesh.db, ROOT) is MtlsMode.STRICT
