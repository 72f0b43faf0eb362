"""Durations as Istio writes them: Go's ``1h5m``, ``1.5s``, ``100ms``."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Final

from pydantic import PlainValidator, WithJsonSchema

_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_WHOLE: Final = re.compile(r"[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+")
_MICROSECONDS: Final[dict[str, int | Fraction]] = {
    "ns": Fraction(1, 1000),
    "us": 1,
    "µs": 1,
    "μs": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
}
# Go counts nanoseconds in 64 bits, and protobuf's limit of 10,000 years lies far beyond that.
_LONGEST: Final = timedelta(days=106_751)
_SHORTEST: Final = timedelta(milliseconds=1)


def parse_duration(text: str) -> timedelta:
    """Return the duration that ``text`` says; ``ValueError`` when it is not of Go's form."""
    if text == "0":
        return timedelta(0)
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"must be a duration such as 1.5s, 100ms or 1h5m, not {text!r}")
    # Fractions, since what Decimal rounds to is a setting of the thread's.
    total = sum(Fraction(number) * _MICROSECONDS[unit] for number, unit in _PART.findall(text))
    if total > _LONGEST // timedelta(microseconds=1):
        raise ValueError(f"must be a duration of at most 292 years, not {text!r}")
    return timedelta(microseconds=round(-total if text.startswith("-") else total))


def _duration(value: object) -> timedelta:
    if not isinstance(value, str):
        raise ValueError(f"must be a duration with a unit, such as 1.5s, not {value!r}")  # noqa: TRY004  pydantic reports ValueError alone
    parsed = parse_duration(value)
    if parsed < timedelta(0):
        raise ValueError(f"must not be negative: {value!r}")
    # Istio's ValidateDuration; what is shorter is told of by the check for 1ms.
    if parsed > _SHORTEST and parsed % _SHORTEST:
        raise ValueError(f"must be of whole milliseconds, not {value!r}")
    return parsed


def _positive(value: object) -> timedelta:
    parsed = _duration(value)
    if parsed < _SHORTEST:
        raise ValueError(f"must be at least 1ms, not {value!r}")
    return parsed


# Without a sign, so what is of the form is not negative either.
_FORM: Final = r"^\+?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$"
_AT_LEAST_1_MS: Final = {
    "message": "must be a duration of at least 1ms, such as 1.5s, 100ms or 1h5m",
    "rule": "duration(self) >= duration('1ms')",
}

Duration = Annotated[
    timedelta,
    PlainValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": _FORM}),
]
"""Zero or more; zero has a meaning of its own where this type stands."""

PositiveDuration = Annotated[
    timedelta,
    PlainValidator(_positive),
    WithJsonSchema({"type": "string", "x-kubernetes-validations": [_AT_LEAST_1_MS]}),
]
"""At least one millisecond, the rule of Istio's CRDs."""
