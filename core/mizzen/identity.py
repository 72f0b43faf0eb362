"""Who a workload is: trust domain, namespace and service account, written as a SPIFFE id.

The form is Istio's, ``spiffe://<trust domain>/ns/<namespace>/sa/<service account>``, so that policies
and peers written for Istio keep their meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NewType, Self

TrustDomain = NewType("TrustDomain", str)

DEFAULT_TRUST_DOMAIN: Final = TrustDomain("cluster.local")

_SCHEME: Final = "spiffe://"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiffeId:
    """The identity of a workload (SPIFFE-ID specification, section 2)."""

    trust_domain: TrustDomain
    namespace: str
    service_account: str

    def __str__(self) -> str:
        """Return the URI form, as it stands in the certificate's URI SAN."""
        return f"{_SCHEME}{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Return the identity that a URI names; ``ValueError`` when it is not of Istio's form."""
        parts = uri.removeprefix(_SCHEME).split("/")
        if not uri.startswith(_SCHEME) or len(parts) != 5 or not all(parts):
            raise ValueError(f"not a workload's SPIFFE id: {uri!r}")
        domain, ns_word, namespace, sa_word, account = parts
        if (ns_word, sa_word) != ("ns", "sa"):
            raise ValueError(f"not a workload's SPIFFE id: {uri!r}")
        return cls(trust_domain=TrustDomain(domain), namespace=namespace, service_account=account)
