"""Who is at the other end of a stream, and whether it may be the node that it says it is.

Two proofs are taken: an SVID, verified in the TLS handshake against the mesh's own roots, or a
service-account token as a bearer token. Either gives a SPIFFE id. A node then has to lie in that
identity's namespace and, where it names a service account, has to name that one.

On the plaintext port for development, which is bound to loopback only, a client that brings no token
is taken at its word.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from mizzen.identity import SpiffeId
from mizzen_xds.errors import ForbiddenError, UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mizzen.identity import TrustDomain
    from mizzen.model.proxy import NodeInfo

_DEFAULT_ACCOUNT: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodIdentity:
    """An identity, proven by something that one pod alone was given."""

    identity: SpiffeId
    pod: str


# Who was proven to be at the other end.
Proven: TypeAlias = "SpiffeId | PodIdentity"


class TokenReviewer(Protocol):
    """Says whose a bearer token is."""

    def identity(self, token: str) -> Awaitable[Proven | None] | Proven | None:
        """Return whose token it is, ``None`` when it is nobody's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a client has shown.

    Attributes:
        token: The bearer token, empty where there is none.
        uris: The URI SANs of a client certificate that the TLS handshake has verified.
        is_local: The stream came in by the plaintext port.
    """

    token: str = ""
    uris: tuple[str, ...] = ()
    is_local: bool = False

    def __repr__(self) -> str:
        token = "<private>" if self.token else ""
        return f"Credentials(token={token!r}, uris={self.uris!r}, is_local={self.is_local!r})"


def bearer_token(header: str) -> str:
    """Return the token of an ``authorization`` header, empty where it holds none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class Authenticator:
    """Turns credentials into the identity of a node.

    ``account_of`` returns the service account of a namespace's pod, None where that is not known.
    """

    def __init__(
        self,
        *,
        trust_domain: TrustDomain,
        tokens: TokenReviewer | None = None,
        account_of: Callable[[str, str], str | None] = lambda _namespace, _pod: None,
    ) -> None:
        self._trust_domain = trust_domain
        self._tokens = tokens
        self._account_of = account_of

    async def identify(self, credentials: Credentials) -> Proven | None:
        """Return the proven identity, ``None`` for a local client that proved nothing.

        Raises:
            UnauthenticatedError: There is no valid proof.
        """
        if credentials.uris:
            return self._certified(credentials.uris)
        if credentials.token:
            return await self._reviewed(credentials.token)
        if credentials.is_local:
            return None
        raise UnauthenticatedError("neither a client certificate nor a bearer token was shown")

    def authorise(self, proven: Proven | None, node: NodeInfo) -> SpiffeId:
        """Return the identity under which a node is served.

        Raises:
            ForbiddenError: The node is none of the identity's.
        """
        if proven is None:
            account = node.service_account or _DEFAULT_ACCOUNT
            return SpiffeId(
                trust_domain=self._trust_domain, namespace=node.namespace, service_account=account
            )
        identity = proven.identity if isinstance(proven, PodIdentity) else proven
        self._require_account(identity, node)
        if isinstance(proven, PodIdentity) and proven.pod != node.name:
            raise ForbiddenError(f"a token of pod {proven.pod} may not be node {node.name}")
        return identity

    def _require_account(self, identity: SpiffeId, node: NodeInfo) -> None:
        if node.namespace != identity.namespace:
            raise ForbiddenError(f"{identity} may not be a node of namespace {node.namespace}")
        if node.service_account not in ("", identity.service_account):
            raise ForbiddenError(f"{identity} may not be a node of account {node.service_account}")
        known = self._account_of(node.namespace, node.name)
        if known not in (None, identity.service_account):
            raise ForbiddenError(f"{identity} may not be pod {node.name}, which is of {known}")

    def _certified(self, uris: tuple[str, ...]) -> SpiffeId:
        if len(uris) != 1:
            raise UnauthenticatedError("the certificate does not have exactly one URI (SPIFFE)")
        try:
            identity = SpiffeId.parse(uris[0])
        except ValueError as error:
            raise UnauthenticatedError(str(error)) from error
        if identity.trust_domain != self._trust_domain:
            raise UnauthenticatedError(f"{identity} is of another trust domain")
        return identity

    async def _reviewed(self, token: str) -> Proven:
        if self._tokens is None:
            raise UnauthenticatedError("bearer tokens are not taken here")
        answer = self._tokens.identity(token)
        identity = await answer if inspect.isawaitable(answer) else answer
        if identity is None:
            raise UnauthenticatedError("the bearer token is not valid")
        return identity
