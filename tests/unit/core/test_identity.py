"""SPIFFE ids in Istio's form."""

from __future__ import annotations

import pytest

from mizzen.identity import SpiffeId, TrustDomain


def test_an_identity_is_written_and_read_back() -> None:
    """Trust domain, namespace and service account make the URI, and come of it."""
    identity = SpiffeId(
        trust_domain=TrustDomain("mesh.test"), namespace="shop", service_account="cart"
    )
    assert str(identity) == "spiffe://mesh.test/ns/shop/sa/cart"
    assert SpiffeId.parse(str(identity)) == identity


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://mesh.test",
        "mesh.test/ns/shop/sa/cart",
        "https://mesh.test/ns/shop/sa/cart",
        "spiffe://mesh.test/ns/shop/sa/",
        "spiffe:///ns/shop/sa/cart",
        "spiffe://mesh.test/ns/shop/sa/cart/more",
        "spiffe://mesh.test/sa/shop/ns/cart",
        "spiffe://mesh.test/ns/shop/user/cart",
    ],
)
def test_other_uris_are_refused(uri: str) -> None:
    """Another scheme, missing or additional parts, other words: none is a workload of ours."""
    with pytest.raises(ValueError, match="not a workload's SPIFFE id"):
        SpiffeId.parse(uri)
