"""What Istio's validation says of a spec is said here too, no more and no less, at its field."""

from __future__ import annotations

import pytest

from mizzen.api.parse import parse_object
from mizzen.diagnostics import NOT_TRANSLATED, Severity
from mizzen.model.world import Parsed
from tests.support.spec_tables import Row, rows

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("row", rows(), ids=str)
def test_a_spec_is_told_of_as_istio_does(row: Row) -> None:
    """By code and path; only errors keep it from being in force."""
    parsed = parse_object(row.manifest)
    assert isinstance(parsed, Parsed)
    said = [one for one in parsed.diagnostics if one.code is not NOT_TRANSLATED]
    assert {one.path: one.code.id for one in said} == row.told, [one.message for one in said]
    refused = any(one.code.severity is Severity.ERROR for one in said)
    assert (parsed.object is None) == refused
