"""What stands in a Secret: the layouts that Istio reads, and what is not there."""

from __future__ import annotations

import pytest

from mizzen.ir import HeldCertificate, HeldRoots
from mizzen.model.kube import PrivateBytes
from mizzen.resolve.credentials import Parts, certificate_of, parts_of, roots_of
from tests.support.certificates import secret
from tests.support.small_mesh import SmallMesh, key

CHAIN = "-----BEGIN CERTIFICATE-----\nchain\n"
ROOT = "-----BEGIN CERTIFICATE-----\nroot\n"
KEY = "-----BEGIN PRIVATE KEY-----\nkey\n"
REVOKED = "-----BEGIN X509 CRL-----\nlist\n"
PLACE = ("ingress", "web")


@pytest.mark.parametrize(
    "data",
    [
        {"tls__crt": CHAIN, "tls__key": KEY},
        {"cert": CHAIN, "key": KEY},
        {"cert": CHAIN, "key": KEY, "tls__crt": ROOT, "tls__key": KEY},
        {"cert": CHAIN, "tls__crt": CHAIN, "tls__key": KEY},
    ],
)
def test_a_certificate_stands_with_its_key(data: dict[str, str]) -> None:
    """Under the short names, or else under those of ``kubectl create secret tls``."""
    mesh = SmallMesh(secret("web", "ingress", **data))
    assert certificate_of(mesh.db, PLACE) == HeldCertificate(
        name="kubernetes://web",
        chain=CHAIN.encode(),
        key=PrivateBytes(KEY.encode()),
        origins=(key("Secret", "web", "ingress"),),
    )


def test_a_staple_goes_with_its_certificate() -> None:
    """As cert-manager does not write it, but others do."""
    more = {"tls.ocsp-staple": "answer"}
    mesh = SmallMesh(secret("web", "ingress", tls__crt=CHAIN, tls__key=KEY, **more))
    held = certificate_of(mesh.db, PLACE)
    assert held is not None
    assert held.staple == b"answer\n"
    mesh.apply(secret("web", "ingress", cert=CHAIN, key=KEY, **more))
    held = certificate_of(mesh.db, PLACE)
    assert held is not None
    assert held.staple == b""


@pytest.mark.parametrize(
    "data",
    [{}, {"tls__crt": CHAIN}, {"tls__crt": CHAIN, "key": KEY}, {"tls__crt": "x", "tls__key": KEY}],
)
def test_half_a_certificate_is_none(data: dict[str, str]) -> None:
    """Nor is what is no PEM."""
    mesh = SmallMesh(secret("web", "ingress", **data) if data else "")
    assert certificate_of(mesh.db, PLACE) is None
    assert parts_of(mesh.db, PLACE) == Parts(certificate=False, roots=False, exists=bool(data))


@pytest.mark.parametrize(
    ("name", "data", "revoked"),
    [
        ("web", {"cacert": ROOT, "ca__crt": CHAIN}, ""),
        ("web", {"ca__crt": ROOT, "ca__crl": REVOKED}, REVOKED),
        ("web", {"ca__crt": ROOT, "crl": REVOKED}, ""),
        ("web-cacert", {"ca__crt": ROOT}, ""),
        ("web-cacert", {"cacert": ROOT, "crl": REVOKED}, REVOKED),
    ],
)
def test_roots_stand_beside_or_by_themselves(name: str, data: dict[str, str], revoked: str) -> None:
    """With what is revoked under the name that goes with theirs."""
    mesh = SmallMesh(secret("web", "ingress", other="x"), secret(name, "ingress", **data))
    assert roots_of(mesh.db, PLACE) == HeldRoots(
        name="kubernetes://web-cacert",
        roots=ROOT.encode(),
        revoked=revoked.encode(),
        origins=(key("Secret", name, "ingress"),),
    )
    assert parts_of(mesh.db, PLACE).roots


def test_roots_by_themselves_go_first() -> None:
    """Whoever writes such a Secret means it."""
    mesh = SmallMesh(
        secret("web", "ingress", ca__crt=CHAIN), secret("web-cacert", "ingress", ca__crt=ROOT)
    )
    held = roots_of(mesh.db, PLACE)
    assert held is not None
    assert held.roots == ROOT.encode()


def test_a_secret_of_elsewhere_is_nobodys() -> None:
    """A name means one of the gateway's own namespace."""
    mesh = SmallMesh(secret("web", "shop", tls__crt=CHAIN, tls__key=KEY))
    assert parts_of(mesh.db, PLACE) == Parts(certificate=False, roots=False, exists=False)


def test_what_is_held_is_not_shown() -> None:
    """A key in a log is a key lost."""
    mesh = SmallMesh(secret("web", "ingress", tls__crt=CHAIN, tls__key=KEY))
    assert "PRIVATE" not in repr(certificate_of(mesh.db, PLACE))
