"""What the control plane's own trust rests on: the authority, the workloads' secrets, its own certificate."""

from __future__ import annotations

from random import SystemRandom
from typing import TYPE_CHECKING, Final

from mizzen.identity import SpiffeId
from mizzen_certs import Authority, CertsError, FileStore, Renewer
from mizzen_operator.secrets import MeshSecrets
from mizzen_operator.state import StateError
from mizzen_operator.svids import SvidFolder
from mizzen_xds.metrics import Sample
from mizzen_xds.tls import ServerIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.clock import Clock
    from mizzen.identity import TrustDomain
    from mizzen_certs import Issuing
    from mizzen_operator.logs import Log
    from mizzen_operator.state import StateFolder
    from mizzen_operator.svids import KeptSvids

# Who the control plane is, and where it is unless it is told otherwise.
NAMESPACE: Final = "mizzen-system"
ACCOUNT: Final = "mizzen"
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")


class TrustError(Exception):
    """The authority's keys cannot be used; the message says what to do."""


class Trust:
    """The parts that hold keys; lives in one event loop. ``names`` are those that clients look for."""

    def __init__(
        self,
        authority: Issuing,
        kept: KeptSvids,
        clock: Clock,
        log: Log,
        *,
        namespace: str = NAMESPACE,
    ) -> None:
        self.authority = authority
        self.server = SpiffeId(
            trust_domain=authority.trust_domain, namespace=namespace, service_account=ACCOUNT
        )
        names = {self.server: server_names(namespace)}
        self._renewer = Renewer(authority, clock, SystemRandom(), dns_names=names)
        self.secrets = MeshSecrets(authority, self._renewer, kept, clock, log)
        self._server_identity = self._make_server_identity()

    def server_identity(self) -> ServerIdentity:
        """Return what the TLS ports show."""
        return self._server_identity

    def refresh(self) -> None:
        """Take up what a renewal has changed of the server's own certificate and roots."""
        self._server_identity = self._make_server_identity()

    def samples(self) -> Iterator[Sample]:
        """Yield what is counted of the authority."""
        roots = self.authority.bundle().expires_at.timestamp()
        yield Sample("mizzen_certs_roots_expire_timestamp_seconds", roots)
        due = self.authority.next_tick().timestamp()
        yield Sample("mizzen_certs_next_rotation_timestamp_seconds", due)
        yield Sample("mizzen_certs_identities", len(self.secrets.identities))

    def _make_server_identity(self) -> ServerIdentity:
        svid = self._renewer.svid(self.server)
        return ServerIdentity(
            key_pem=svid.key.reveal(), chain_pem=svid.chain_pem, roots_pem=self.secrets.roots
        )


def server_names(namespace: str) -> tuple[str, ...]:
    """Return the names by which proxies and API servers find a control plane of a namespace."""
    service = f"{ACCOUNT}.{namespace}.svc"
    return (service, f"{service}.cluster.local", *_LOCAL_NAMES)


def open_folder(state: StateFolder, trust_domain: TrustDomain, clock: Clock, log: Log) -> Trust:
    """Return the trust that a state folder holds, a new one where it is empty.

    Raises :class:`TrustError`.
    """
    try:
        state.prepare()
        authority = Authority.open(FileStore(state.authority), trust_domain, clock)
        return Trust(authority, SvidFolder(state.svids), clock, log)
    except (CertsError, StateError, ValueError) as error:
        raise TrustError(str(error)) from error
