"""Serves bundles to proxies over xDS.

What the operator needs is here; the server, which alone imports gRPC, is in ``mizzen_xds.server``.
"""

from mizzen_xds.authn import Authenticator, Credentials, TokenReviewer
from mizzen_xds.errors import (
    ForbiddenError,
    ListenError,
    RefusedError,
    UnauthenticatedError,
    XdsError,
)
from mizzen_xds.ledger import Convergence, Ledger, Liveness, ProxyState, Quarantine, Refusal
from mizzen_xds.metrics import Metrics, Sample
from mizzen_xds.publisher import Publisher, SecretSource
from mizzen_xds.settings import XdsSettings

__all__ = [
    "Authenticator",
    "Convergence",
    "Credentials",
    "ForbiddenError",
    "Ledger",
    "ListenError",
    "Liveness",
    "Metrics",
    "ProxyState",
    "Publisher",
    "Quarantine",
    "Refusal",
    "RefusedError",
    "Sample",
    "SecretSource",
    "TokenReviewer",
    "UnauthenticatedError",
    "XdsError",
    "XdsSettings",
]
