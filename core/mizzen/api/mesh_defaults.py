"""Parts of a MeshConfig: what holds where objects say nothing (Istio: mesh/v1alpha1/config.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from mizzen.api.base import ApiModel
from mizzen.api.findings import Finding, Path, invalid, without_effect
from mizzen.api.gateway_checks import CIPHERS
from mizzen.model.mesh import Paths, TlsLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

# What BoringSSL has (crypto/nid, ssl_key_share.cc); Envoy refuses a whole listener for another name.
_CURVES: Final = ("P-256", "P-384", "P-521", "X25519", "X25519MLKEM768")


class PathNormalization(ApiModel):
    """How paths are made alike (Istio: MeshConfig.ProxyPathNormalization)."""

    normalization: Literal[
        "DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"
    ] = Field(default="DEFAULT", description="DEFAULT is BASE: as RFC 3986 has it.")


class MeshTls(ApiModel):
    """TLS among workloads (Istio: MeshConfig.TLSConfig)."""

    min_protocol_version: Literal["TLS_AUTO", "TLSV1_2", "TLSV1_3"] = Field(
        default="TLS_AUTO", description="TLSV1_2 by default."
    )
    cipher_suites: list[str] = Field(default_factory=list, description="Ciphers up to TLS 1.2.")
    ecdh_curves: list[str] = Field(default_factory=list, description="Curves of the key exchange.")


def paths(written: PathNormalization | None) -> Paths | None:
    """Return how paths are made alike; None where nothing is written."""
    if written is None:
        return None
    word = written.normalization
    return Paths.BASE if word == "DEFAULT" else Paths(word)


def tls_limits(written: MeshTls | None) -> TlsLimits | None:
    """Return what of TLS is taken; names that Envoy does not have are left out."""
    if written is None:
        return None
    version = written.min_protocol_version
    return TlsLimits(
        version="TLSV1_2" if version == "TLS_AUTO" else version,
        ciphers=tuple(dict.fromkeys(c for c in written.cipher_suites if c in CIPHERS)),
        curves=tuple(dict.fromkeys(c for c in written.ecdh_curves if c in _CURVES)),
    )


def check_tls(written: MeshTls) -> Iterator[Finding]:
    """Check TLS among workloads."""
    yield from _names(("cipherSuites",), written.cipher_suites, sorted(CIPHERS))
    yield from _names(("ecdhCurves",), written.ecdh_curves, _CURVES)


def _names(path: Path, written: list[str], known: list[str] | tuple[str, ...]) -> Iterator[Finding]:
    for index, name in enumerate(written):
        if name not in known:
            remedy = f"Use some of {', '.join(known)}."
            yield without_effect((*path, index), f"{name!r} is left out: Envoy has none", remedy)
    if written and not set(written) & set(known):
        yield invalid(path, "none of these is known to Envoy")
