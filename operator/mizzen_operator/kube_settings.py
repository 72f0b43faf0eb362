"""What the command line of ``mizzen operator`` says, as its composition root takes it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mizzen_certs import CaPolicy
from mizzen_operator.trust import NAMESPACE

if TYPE_CHECKING:
    from pathlib import Path

    from mizzen_operator.address import Address
    from mizzen_operator.logs import Level

# An issuing key signs for so many lives of a certificate: 30 days of them, as SPIRE's cap.
_ISSUER_LIVES: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeSettings:
    """What the command line says.

    Attributes:
        xds, webhooks, replicas: Where proxies, API servers and other replicas come, with TLS.
        kubeconfig: How the API server is reached; ``None`` as from a pod.
        injection: A file that says how pods are injected; ``None`` for the defaults.
        webhook_url: Where API servers reach the webhooks when it is not by the Service.
        drain_seconds: How long everything is served after this replica has said that it ends: until
            the Service sends nobody here any more.
        certificate_hours: How long a certificate of a workload is good for, and how long a root is shown
            before it signs.
        root_days: How long a root is good for; half of it later its successor is made.
        identity: The name of this replica, its pod's.
    """

    http: Address
    xds: Address
    webhooks: Address
    replicas: Address
    namespace: str = NAMESPACE
    trust_domain: str = "cluster.local"
    log_level: Level = "info"
    kubeconfig: Path | None = None
    sidecar_image: str = ""
    init_image: str = ""
    injection: Path | None = None
    webhook_url: str = ""
    drain_seconds: float = 3.0
    certificate_hours: float = 24.0
    root_days: float = 3650.0
    identity: str = field(default_factory=lambda: os.environ.get("POD_NAME") or _own_name())

    @property
    def lifetimes(self) -> CaPolicy:
        """The lifetimes of what the authority makes; ``ValueError`` where they cannot all be kept."""
        certificate = timedelta(hours=self.certificate_hours)
        root = timedelta(days=self.root_days)
        return CaPolicy(
            root_ttl=root,
            issuer_ttl=min(_ISSUER_LIVES * certificate, root),
            svid_ttl=certificate,
            overlap=certificate,
        )

    @property
    def webhook_service(self) -> dict[str, object]:
        """Where API servers find the webhooks (``clientConfig``)."""
        if self.webhook_url:
            return {"url": self.webhook_url}
        return {"namespace": self.namespace, "name": "mizzen"}


def _own_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"
