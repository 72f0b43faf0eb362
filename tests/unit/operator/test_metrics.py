"""Metrics are a page that Prometheus reads."""

from __future__ import annotations

from mizzen_operator.metrics import OperatorMetrics, exposition
from mizzen_xds.metrics import Sample


def test_families_stand_together_under_their_type() -> None:
    metrics = OperatorMetrics(revision=7)
    metrics.rounds.observe(0.003)
    page = exposition(metrics.samples()).decode()
    assert "# TYPE mizzen_operator_revision gauge\nmizzen_operator_revision 7\n" in page
    assert "# TYPE mizzen_operator_batches_total counter\n" in page
    assert "# TYPE mizzen_operator_round_seconds histogram\n" in page
    assert 'mizzen_operator_round_seconds_bucket{le="+Inf"} 1\n' in page
    assert "mizzen_operator_round_seconds_sum 0.003\n" in page
    assert page.count("# TYPE mizzen_operator_findings ") == 1


def test_labels_are_escaped() -> None:
    page = exposition([Sample("a", 1.5, (("b", 'x"y\\z\n'),))]).decode()
    assert page == '# TYPE a gauge\na{b="x\\"y\\\\z\\n"} 1.5\n'
