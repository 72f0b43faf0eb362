"""The control plane's status as the tour reads it."""

from __future__ import annotations

import pytest

from mizzen_cli.demo.proxies import AskError
from mizzen_cli.demo.status import Finding, ObjectStatus, ProxyStatus, parse_status, sum_of

_SAID = """
{
  "objects": [
    {"kind": "VirtualService", "namespace": "shop", "name": "reviews", "accepted": true,
     "diagnostics": [], "programmed": {"live": 7, "of": 7, "at": 12.5}},
    {"kind": "VirtualService", "namespace": "shop", "name": "ledger", "accepted": true,
     "diagnostics": [{"code": "MZ0900", "message": "Envoy says no", "file": null, "line": null}],
     "programmed": {"live": 0, "of": 7, "at": 13.0}},
    {"kind": "Namespace", "namespace": null, "name": "shop", "accepted": true, "programmed": null}
  ],
  "proxies": [
    {"id": "sidecar~1", "connected": true, "nacks": [{"message": "no"}]},
    {"id": "sidecar~2", "connected": false}
  ],
  "diagnostics": [{"code": "MZ0001", "message": "not YAML", "file": "a.yaml", "line": 3}]
}
"""


def test_everything_that_the_tour_asks_for_is_read() -> None:
    """Objects with their counts, proxies with Envoy's words, findings with their place."""
    status = parse_status(_SAID)
    assert status.object("VirtualService", "shop/reviews") == ObjectStatus(
        kind="VirtualService",
        namespace="shop",
        name="reviews",
        accepted=True,
        live=7,
        of=7,
        at=12.5,
    )
    assert status.proxies[0] == ProxyStatus(id="sidecar~1", connected=True, rejected=("no",))
    assert status.connected == 1
    assert status.findings == (Finding(code="MZ0001", message="not YAML", file="a.yaml", line=3),)


def test_live_everywhere_means_on_all_and_at_least_one() -> None:
    """Some of many is not everywhere, and none of none is nowhere."""
    status = parse_status(_SAID)
    live = [found.fully_live for found in status.objects]
    assert live == [True, False, False]


def test_an_object_that_is_not_there_is_none() -> None:
    """Kind and name both count."""
    assert parse_status(_SAID).object("DestinationRule", "shop/reviews") is None


def test_a_metric_is_summed_over_its_labels() -> None:
    """Other metrics, be their names longer, are not in it; one that is not there is an error."""
    said = 'a_total{type="x"} 2\na_total{type="y"} 3\na_total_more 7\n# TYPE a_total counter\n'
    assert sum_of(said, "a_total") == 5
    with pytest.raises(AskError, match="b_total"):
        sum_of(said, "b_total")
