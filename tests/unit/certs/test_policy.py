"""Lifetimes that cannot all be kept are refused when they are written down."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mizzen_certs import CaPolicy, PrivateKeyPem, SecretBytes

HOUR = timedelta(hours=1)


def test_the_defaults_are_istios_and_spires() -> None:
    policy = CaPolicy()
    assert policy.root_ttl == timedelta(days=3650)
    assert policy.svid_ttl == timedelta(hours=24)
    assert policy.cushion == timedelta(seconds=10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"svid_ttl": timedelta(seconds=4)}, "svid_ttl must be at least 0:00:05"),
        ({"cushion": timedelta(seconds=-1)}, "cushion must not be negative"),
        ({"overlap": timedelta(seconds=-1)}, "overlap must not be negative"),
        ({"jitter": -0.1}, "jitter must be between"),
        ({"jitter": 0.26}, "jitter must be between"),
        ({"issuer_ttl": 47 * HOUR}, "issuer_ttl must be at least twice svid_ttl"),
        ({"root_ttl": timedelta(days=29)}, "root_ttl must be at least issuer_ttl"),
        (
            {"root_ttl": 95 * HOUR, "issuer_ttl": 48 * HOUR},
            "root_ttl must be at least twice overlap and svid_ttl",
        ),
    ],
)
def test_a_policy_is_refused_whose_lifetimes_exclude_each_other(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CaPolicy(**changes)


def test_every_broken_demand_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"cushion .*; overlap "):
        CaPolicy(cushion=-HOUR, overlap=-HOUR)


def test_a_private_key_shows_in_no_printed_form() -> None:
    key = PrivateKeyPem(b"top secret")
    assert {repr(key), str(key), f"{key}"} == {"<PrivateKeyPem hidden, 10 bytes>"}
    assert key.reveal() == b"top secret"


def test_secrets_compare_by_their_bytes() -> None:
    assert SecretBytes(b"a") == SecretBytes(b"a")
    assert SecretBytes(b"a") != SecretBytes(b"b")
    assert SecretBytes(b"a") != b"a"
    assert len({SecretBytes(b"a"), SecretBytes(b"a")}) == 1
