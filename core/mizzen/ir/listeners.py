"""Listening: what a proxy does with the connections made to it, and from its workload."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from mizzen.ir.authorization import Authorization
from mizzen.ir.origins import Origins
from mizzen.ir.routes import RetryPolicy
from mizzen.ir.upstreams import Upstream
from mizzen.model.destination import ConnectionPool, Tunnel
from mizzen.model.families import Families
from mizzen.model.gateway import ServerTls
from mizzen.model.kube import Protocol
from mizzen.model.mesh import Paths, TlsLimits
from mizzen.model.security import JwtRule, MtlsMode


@dataclass(frozen=True, slots=True, kw_only=True)
class NameLookup:
    """That the server name which a client asks for is looked up, and called on a port."""

    port: int
    families: Families


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProxy:
    """Bytes to one cluster, or to several by shares.

    With ``shares`` (clusters and weights) ``cluster`` is but a name, for statistics.
    ``hash_on_source`` is consistentHash.useSourceIp; ``tunnel`` carries the bytes in a request.
    """

    cluster: str
    shares: tuple[tuple[str, int], ...] = ()
    idle_timeout: timedelta | None = None
    max_connection_duration: timedelta | None = None
    hash_on_source: bool = False
    lookup: NameLookup | None = None
    tunnel: Tunnel | None = None

    @property
    def clusters(self) -> tuple[str, ...]:
        """Where bytes may go."""
        return tuple(name for name, _ in self.shares) or (self.cluster,)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpChain:
    """Bytes of some of a listener's connections: those that ask for a server name, or go to a range.

    ``server_name`` is the SNI, ``cidr`` the destination; what is empty is not asked for. ``tls`` asks for
    TLS with whatever server name, or none.
    """

    server_name: str = ""
    cidr: str = ""
    tls: bool = False
    tcp: TcpProxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What holds for all listeners of a mesh.

    Attributes:
        detection: How long a connection's first bytes are waited for; zero is for ever.
        paths: How paths of requests are made alike.
    """

    detection: timedelta = timedelta(0)
    paths: Paths = Paths.BASE


# Istio: a request that the application surely never saw (it had just closed the connection) goes again.
_RETRY: Final = RetryPolicy(
    attempts=2, retry_on=("reset-before-request",), avoid_previous_hosts=False
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundListener:
    """What a sidecar does with connections to one port (of one address, or of any).

    Unless it ``binds``, virtualOutbound hands it the connections of its original destination.

    Attributes:
        bind: The address, ``0.0.0.0`` or ``::`` for any; or ``unix:///path``, with port 0.
        also: Further addresses on which it is.
        binds: Whether clients connect to it themselves.
        routes: Name of the route configuration for HTTP; empty where the port is TCP only.
        chains: Connections that are told from the others by server name or destination.
        tcp: Where all other bytes go; for an HTTP port the pass-through or black hole.
        takes_rest: Whether ``tcp`` is a service's own claim, not what unknown destinations get.
        sniff: True where HTTP has to be told from TCP by looking at the bytes with no declaration.
        by_request: Of which versions of IP hosts are looked up that requests ask for; None for none.
    """

    bind: str
    port: int
    also: tuple[str, ...] = ()
    binds: bool = False
    routes: str = ""
    chains: tuple[TcpChain, ...] = ()
    tcp: TcpProxy
    takes_rest: bool = True
    sniff: bool = False
    by_request: Families | None = None
    habits: Habits = field(default_factory=Habits)
    origins: Origins = ()

    @property
    def name(self) -> str:
        """Istio's name of the listener."""
        return f"{self.bind}_{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundPort:
    """One port of the proxy's own workload.

    Attributes:
        port: Where the application listens (the target port), which is where clients' packets go to.
        service_port: The Service's port number, for names.
        mode: Effective mutual TLS mode, never UNSET.
        host: The Service's host, for names and metadata.
        endpoint: Where connections go instead of the address that they were made to: ``127.0.0.1:8080``,
            ``[::1]:8080`` or ``unix:///path``.
        own_port: The port that they go to on that address, where it is another one.
        bind: The address on which it has a listener of its own; empty where connections are captured.
        end: How TLS of its own ends; what comes out is of ``protocol``.
    """

    port: int
    service_port: int
    protocol: Protocol
    mode: MtlsMode
    host: str
    connection_pool: ConnectionPool | None = None
    endpoint: str = ""
    own_port: int | None = None
    bind: str = ""
    end: ServerTls | None = None
    origins: Origins = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuers:
    """Whose tokens are valid; without rules tokens are not looked at.

    ``sources`` are pairs of a place of keys (``jwksUri``) and the cluster through which it is reached;
    ``servers`` are those clusters that nobody else has, sorted by name.
    """

    rules: tuple[JwtRule, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    servers: tuple[Upstream, ...] = ()
    origins: Origins = ()

    @property
    def clusters(self) -> frozenset[str]:
        """The clusters that have to be there."""
        return frozenset(cluster for _, cluster in self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortChecks:
    """What is asked on a port instead, because policies are attached to the services that give it."""

    port: int
    authorization: Authorization
    tokens: TokenIssuers


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundPolicy:
    """The whole inbound side of a sidecar.

    Attributes:
        ports: The declared ports, sorted by number.
        default_mode: mTLS mode of undeclared ports.
        port_modes: Modes of undeclared ports that a PeerAuthentication names (portLevelMtls).
        families: The versions of IP that the workload has addresses of.
        trust_domains: Whose certificates are accepted, own one first.
        authorization: What is checked on HTTP and on TCP.
        tokens: Whose tokens are valid.
        attached: The ports, sorted, where something else is asked.
        retry: Of requests to the application.
        server_tls: What of the mesh's TLS is taken.
    """

    ports: tuple[InboundPort, ...]
    default_mode: MtlsMode
    port_modes: tuple[tuple[int, MtlsMode], ...] = ()
    families: Families = Families.V4
    trust_domains: tuple[str, ...]
    authorization: Authorization
    tokens: TokenIssuers = field(default_factory=TokenIssuers)
    attached: tuple[PortChecks, ...] = ()
    retry: RetryPolicy | None = _RETRY
    habits: Habits = field(default_factory=Habits)
    server_tls: TlsLimits = field(default_factory=TlsLimits)
    origins: Origins = ()

    @property
    def all_origins(self) -> Origins:
        """All objects that shaped it, but for those of its ports."""
        checks: tuple[InboundPolicy | PortChecks, ...] = (self, *self.attached)
        asked = (key for one in checks for key in (*one.authorization.origins, *one.tokens.origins))
        return tuple(dict.fromkeys((*self.origins, *asked)))

    @property
    def key_servers(self) -> tuple[Upstream, ...]:
        """The clusters of servers of keys that nobody else has, each once."""
        found = (*self.tokens.servers, *(u for one in self.attached for u in one.tokens.servers))
        return tuple({upstream.name: upstream for upstream in found}.values())

    @property
    def clusters(self) -> frozenset[str]:
        """The clusters that have to be there for what is asked."""
        checks: tuple[InboundPolicy | PortChecks, ...] = (self, *self.attached)
        return frozenset().union(*(c.authorization.clusters | c.tokens.clusters for c in checks))
