"""A publisher and its server on loopback, with a clock that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from mizzen.bundle import EMPTY_TABLE, Table
from mizzen.identity import DEFAULT_TRUST_DOMAIN, SpiffeId
from mizzen.model.proxy import NodeInfo
from mizzen_xds import Authenticator, Publisher, XdsSettings
from mizzen_xds.server import XdsServer
from mizzen_xds.tls import ServerIdentity
from tests.support.clock import ManualClock

CLASS: Final = "everyone"


@dataclass(slots=True)
class Secrets:
    """The secrets of identities, as a test sets them."""

    tables: dict[SpiffeId, Table] = field(default_factory=dict)

    def secrets(self, identity: SpiffeId) -> Table:
        """Return an identity's secrets, none where none were set."""
        return self.tables.get(identity, EMPTY_TABLE)


@dataclass(slots=True)
class Tokens:
    """The valid tokens, as a test sets them."""

    known: dict[str, SpiffeId] = field(default_factory=dict)

    def identity(self, token: str) -> SpiffeId | None:
        """Return whose token it is."""
        return self.known.get(token)


@dataclass(slots=True, kw_only=True)
class Plane:
    """What a test of the xDS plane holds in its hands."""

    publisher: Publisher
    clock: ManualClock
    secrets: Secrets
    tokens: Tokens
    classes: dict[str, Hashable]
    proxies: dict[str, NodeInfo]
    server: XdsServer | None = None

    @property
    def port(self) -> int:
        """The plaintext port."""
        port = self.server.insecure_port if self.server is not None else None
        assert port is not None
        return port

    @property
    def secure_port(self) -> int:
        """The TLS port."""
        port = self.server.secure_port if self.server is not None else None
        assert port is not None
        return port


def plane(settings: XdsSettings | None = None) -> Plane:
    """Return a plane without a server; every proxy is of class ``CLASS`` unless ``classes`` says else."""
    classes: dict[str, Hashable] = {}
    proxies: dict[str, NodeInfo] = {}
    secrets = Secrets()
    clock = ManualClock()

    def keep(connected: Mapping[str, NodeInfo]) -> None:
        proxies.clear()
        proxies.update(connected)

    publisher = Publisher(
        secrets=secrets,
        clock=clock,
        settings=settings or XdsSettings(),
        classify=lambda node: classes.get(node.id, CLASS),
        on_proxies_changed=keep,
    )
    return Plane(
        publisher=publisher,
        clock=clock,
        secrets=secrets,
        tokens=Tokens(),
        classes=classes,
        proxies=proxies,
    )


@asynccontextmanager
async def serving(
    settings: XdsSettings | None = None,
    identity: Callable[[], ServerIdentity] | None = None,
) -> AsyncIterator[Plane]:
    """Run a plane with a plaintext port on loopback, and a TLS port where it has an identity."""
    made = plane(settings)
    authenticator = Authenticator(trust_domain=DEFAULT_TRUST_DOMAIN, tokens=made.tokens)
    server = XdsServer(
        made.publisher,
        authenticator,
        insecure_address="127.0.0.1:0",
        secure_address="127.0.0.1:0" if identity is not None else None,
        identity=identity,
    )
    await server.start()
    try:
        yield replace(made, server=server)
    finally:
        await server.stop()
