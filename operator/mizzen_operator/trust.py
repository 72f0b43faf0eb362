"""Everything that the control plane's own trust rests on: the authority, its server certificate, the tokens."""

from __future__ import annotations

from random import SystemRandom
from typing import TYPE_CHECKING, Final, Self

from mizzen.identity import SpiffeId
from mizzen_certs import Authority, CertsError, FileStore, Renewer
from mizzen_operator.secrets import MeshSecrets
from mizzen_operator.state import StateError
from mizzen_operator.svids import SvidFolder
from mizzen_operator.tokens import TokenFolder
from mizzen_xds.metrics import Sample
from mizzen_xds.tls import ServerIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.clock import Clock
    from mizzen.identity import TrustDomain
    from mizzen_operator.logs import Log
    from mizzen_operator.state import StateFolder

# Who the control plane is, and the names by which proxies find it.
_NAMESPACE: Final = "mizzen-system"
_ACCOUNT: Final = "mizzen"
_SERVER_NAMES: Final = (
    "mizzen.mizzen-system.svc",
    "mizzen.mizzen-system.svc.cluster.local",
    "localhost",
    "127.0.0.1",
    "::1",
)


class TrustError(Exception):
    """The state folder's keys cannot be used; the message says what to do."""


class Trust:
    """The parts that hold keys, on one state folder; lives in one event loop."""

    def __init__(
        self,
        authority: Authority,
        state: StateFolder,
        clock: Clock,
        log: Log,
    ) -> None:
        self.authority = authority
        self.tokens = TokenFolder(state.tokens, authority.trust_domain)
        self._server = SpiffeId(
            trust_domain=authority.trust_domain, namespace=_NAMESPACE, service_account=_ACCOUNT
        )
        self._renewer = Renewer(
            authority, clock, SystemRandom(), dns_names={self._server: _SERVER_NAMES}
        )
        self.secrets = MeshSecrets(authority, self._renewer, SvidFolder(state.svids), clock, log)
        self._server_identity = self._make_server_identity()

    @classmethod
    def open(cls, state: StateFolder, trust_domain: TrustDomain, clock: Clock, log: Log) -> Self:
        """Return the trust that a state folder holds, a new one where it is empty.

        Raises :class:`TrustError`.
        """
        try:
            state.prepare()
            authority = Authority.open(FileStore(state.authority), trust_domain, clock)
            return cls(authority, state, clock, log)
        except (CertsError, StateError, ValueError) as error:
            raise TrustError(str(error)) from error

    def server_identity(self) -> ServerIdentity:
        """Return what the TLS port shows; gRPC asks in threads of its own."""
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
        svid = self._renewer.svid(self._server)
        return ServerIdentity(
            key_pem=svid.key.reveal(), chain_pem=svid.chain_pem, roots_pem=self.secrets.roots
        )
