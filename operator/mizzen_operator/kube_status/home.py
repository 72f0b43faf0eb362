"""All of the status of one replica, put together: what part of a home of the control plane it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from mizzen.identity import SpiffeId
from mizzen_certs import Authority
from mizzen_operator.inject.decide import STATUS, should_inject
from mizzen_operator.kube_status.channel import Asker, Contexts, Listener
from mizzen_operator.kube_status.mesh import Certificates
from mizzen_operator.kube_status.replicas import Replicas
from mizzen_operator.kube_status.sink import StatusParts, StatusSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mizzen.clock import Clock
    from mizzen.diagnostics import Diagnostic
    from mizzen.identity import TrustDomain
    from mizzen.names import ObjectKey
    from mizzen.resolve.allocation import Given
    from mizzen_certs import Issuing
    from mizzen_operator.address import Address
    from mizzen_operator.compiler import Round
    from mizzen_operator.inject.settings import InjectSettings
    from mizzen_operator.kube.client import ApiClient
    from mizzen_operator.logs import Log
    from mizzen_xds.ledger import Ledger
    from mizzen_xds.metrics import Sample
    from mizzen_xds.tls import ServerIdentity

# Where replicas speak to one another: beside the ports that others come to, and open to nobody else.
PORT: Final = 15016
_NAME: Final = "mizzen"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeStatusParts:
    """What the status of a replica needs of the rest of it.

    Attributes:
        identity: The replica's certificate, with the control plane's DNS name and SPIFFE identity.
        is_leader: Whether this replica writes.
        namespace: The control plane's own; its Service and service account are named ``mizzen``.
        replica: This replica's name, its pod's.
        listens: Where the other replicas ask.
        owners: What MeshStatus goes with at an uninstall, as ownerReferences.
        peers: The others' addresses; by default the ready endpoints of the Service.
    """

    api: ApiClient
    ledger: Ledger
    clock: Clock
    log: Log
    identity: Callable[[], ServerIdentity]
    authority: Callable[[], Issuing]
    is_leader: Callable[[], bool]
    trust_domain: TrustDomain
    namespace: str
    replica: str
    listens: Address
    inject: InjectSettings
    owners: tuple[dict[str, object], ...] = ()
    peers: Callable[[], Iterable[str]] | None = None


class KubeStatus:
    """The status of one replica; :meth:`start` before :meth:`run`, and :meth:`stop` after it."""

    def __init__(self, parts: KubeStatusParts) -> None:
        self._listens = parts.listens
        self._replicas = Replicas(parts.namespace, _NAME, parts.replica, PORT)
        contexts = Contexts(parts.identity)
        self._asker = Asker(
            contexts,
            f"{_NAME}.{parts.namespace}.svc",
            parts.peers or self._replicas.addresses,
        )
        self._sink = StatusSink(_sink_parts(parts, self._asker))
        who = SpiffeId(
            trust_domain=parts.trust_domain,
            namespace=parts.namespace,
            service_account=_NAME,
        )
        self._listener = Listener(contexts, who, self._sink.report)

    def take_round(self, made: Round) -> None:
        """Take note of what a round brings into force."""
        if made.batch is not None:
            self._replicas.take_batch(made.batch)
        self._sink.take_round(made)

    def take_findings(self, findings: Mapping[ObjectKey, tuple[Diagnostic, ...]]) -> None:
        """Take in the findings of the whole mesh."""
        self._sink.take_findings(findings)

    def take_given(self, given: Mapping[ObjectKey, Given]) -> None:
        """Take in the addresses that hosts without any were given."""
        self._sink.take_given(given)

    def samples(self) -> Iterator[Sample]:
        """Yield what is counted."""
        return self._sink.samples()

    async def start(self) -> int:
        """Listen to the other replicas; return the port. ``OSError`` where that is not possible."""
        return await self._listener.start(self._listens)

    async def look(self) -> None:
        """Look, ask and write once; raises ``ApiError`` where the API server is away."""
        await self._sink.look()

    async def run(self) -> None:
        """Look, ask and write until cancelled."""
        try:
            await self._sink.run()
        finally:
            await self.close()

    async def stop(self) -> None:
        """Listen no longer."""
        await self._listener.stop()

    async def close(self) -> None:
        """Close the connections to the others; a question opens new ones."""
        await self._asker.close()


def _sink_parts(parts: KubeStatusParts, asker: Asker) -> StatusParts:
    return StatusParts(
        api=parts.api,
        ledger=parts.ledger,
        clock=parts.clock,
        log=parts.log,
        peers=asker,
        is_leader=parts.is_leader,
        certificates=lambda: certificates(parts.authority()),
        wants_sidecar=lambda pod, labels: _lacks_sidecar(pod, labels, parts.inject),
        replica=parts.replica,
        version=_own_version(),
        owners=parts.owners,
    )


def certificates(authority: Issuing) -> Certificates:
    """Return when the certificates end that nobody but a person replaces.

    Our own authority replaces its issuing certificate by itself; of one that was plugged in it counts.
    """
    roots = Certificates(
        expire=authority.bundle().expires_at,
        next_rotation=authority.next_tick(),
        lifetime=authority.policy.root_ttl,
    )
    validity = authority.held.issuer.validity
    if isinstance(authority, Authority) or roots.expire <= validity.not_after:
        return roots
    lifetime = validity.not_after - validity.not_before
    return replace(roots, expire=validity.not_after, lifetime=lifetime)


def _own_version() -> str:
    try:
        return version("mizzen")
    except PackageNotFoundError:
        return ""


def _lacks_sidecar(
    pod: dict[str, Any], namespace_labels: Mapping[str, str], settings: InjectSettings
) -> bool:
    if STATUS in pod["metadata"]["annotations"]:
        return False
    return should_inject(pod, namespace_labels, settings).inject
