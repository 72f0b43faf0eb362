"""A replica of the control plane as far as status goes: reads an API server, serves model proxies, answers others.

It reads when a test says so and looks when a test says so, so that a test decides who knows what.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mizzen.compile import Compiler
from mizzen.identity import DEFAULT_TRUST_DOMAIN, SpiffeId
from mizzen_operator.address import Address
from mizzen_operator.compiler import Round
from mizzen_operator.inject.settings import InjectSettings
from mizzen_operator.kube.paths import RESOURCE_OF, is_steering
from mizzen_operator.kube_status.home import KubeStatus, KubeStatusParts
from mizzen_operator.logs import Log
from mizzen_operator.sources.objects import Objects, key_of, together
from mizzen_xds import Publisher, XdsSettings
from mizzen_xds.tls import ServerIdentity
from tests.support.control_plane import Secrets
from tests.support.proxy_model import ProxyModel, no_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mizzen.clock import Clock
    from mizzen.model.world import Batch
    from mizzen_certs import Authority
    from mizzen_operator.kube.client import ApiClient
    from mizzen_xds.metrics import Sample
    from tests.support.proxy_model import Fault

NAMESPACE: Final = "mizzen-system"
ACCOUNT: Final = SpiffeId(
    trust_domain=DEFAULT_TRUST_DOMAIN, namespace=NAMESPACE, service_account="mizzen"
)
_READ: Final = ("Namespace", "Pod", "Service", *filter(is_steering, RESOURCE_OF))


def identity_of(authority: Authority, who: SpiffeId = ACCOUNT, *names: str) -> ServerIdentity:
    """Return the certificate of a member of the mesh, the control plane's unless another is asked for."""
    of_control_plane = (f"mizzen.{NAMESPACE}.svc",) if who == ACCOUNT else ()
    svid = authority.issue(who, dns_names=names or of_control_plane)
    return ServerIdentity(
        key_pem=svid.key.reveal(),
        chain_pem=svid.chain_pem,
        roots_pem=authority.bundle().roots_pem,
    )


@dataclass(slots=True, kw_only=True)
class Reader:
    """What a replica has read of some namespaces of an API server."""

    api: ApiClient
    namespaces: tuple[str, ...]
    objects: Objects = field(default_factory=Objects)

    async def read(self) -> Batch:
        """Return what has changed since it was asked the last time."""
        batches: list[Batch] = []
        for kind in _READ:
            since = self.objects.told
            listed = []
            for raw in await self.api.list(RESOURCE_OF[kind].path()):
                metadata = raw["metadata"]
                if (metadata.get("namespace") or metadata["name"]) not in self.namespaces:
                    continue
                resource = RESOURCE_OF[kind]
                whole = {"apiVersion": resource.api_version, "kind": kind, **raw}
                listed += [key for key in [key_of(whole)] if key is not None]
                told = self.objects.take(whole)
                batches += [] if told is None else [told]
            batches += self.objects.sweep(kind, listed, since)
        return together(batches, complete=True)


class StatusReplica:
    """One replica; ``is_leader`` and ``peers`` are a test's to set."""

    def __init__(
        self,
        api: ApiClient,
        authority: Authority,
        clock: Clock,
        *,
        name: str = "mizzen-0",
        namespaces: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.is_leader = False
        self.peers: tuple[str, ...] = ()
        self.identity = identity_of(authority)
        self.reader = Reader(api=api, namespaces=tuple(namespaces))
        self._compiler = Compiler()
        self.publisher = Publisher(
            secrets=Secrets(),
            clock=clock,
            settings=XdsSettings(),
            classify=self._compiler.classify,
        )
        self.proxies: list[ProxyModel] = []
        self.status = KubeStatus(
            KubeStatusParts(
                api=api,
                ledger=self.publisher.ledger,
                clock=clock,
                log=Log(level="error"),
                identity=lambda: self.identity,
                authority=lambda: authority,
                is_leader=lambda: self.is_leader,
                trust_domain=DEFAULT_TRUST_DOMAIN,
                namespace=NAMESPACE,
                replica=name,
                listens=Address("127.0.0.1", 0),
                inject=InjectSettings(),
                peers=lambda: self.peers,
            )
        )

    async def read(self) -> None:
        """Take in what the API server has now, and offer it."""
        batch = await self.reader.read()
        revision = self._compiler.commit(batch)
        self.status.take_round(_round(revision, batch))
        self._offer()
        self.status.take_given(self._compiler.given_addresses())
        self.status.take_findings(self._compiler.analyze())

    def connect(self, pod: str, namespace: str, *, fault: Fault = no_fault) -> ProxyModel:
        """Have a proxy come, which takes in what it is sent when :meth:`settle` says so."""
        node = f"sidecar~10.0.0.{len(self.proxies) + 1}~{pod}.{namespace}~{namespace}.svc.x"
        proxy = ProxyModel(self.publisher, node=node, fault=fault)
        proxy.connect()
        self.proxies.append(proxy)
        while proxy.deliver_request():
            pass
        self._offer()
        return proxy

    def settle(self) -> None:
        """Have all proxies take in what they were sent."""
        for proxy in self.proxies:
            proxy.drain()

    async def look(self) -> None:
        """Look once, as :meth:`KubeStatus.run` does again and again."""
        await self.status.look()

    def count(self, name: str, **labels: str) -> float:
        """Return one of the numbers that it counts."""
        return _number(self.status.samples, name, tuple(labels.items()))

    @property
    def writes(self) -> int:
        """How often it has written."""
        return int(self.count("mizzen_operator_kube_status_writes_total", outcome="written"))

    def _offer(self) -> None:
        for state in self.publisher.ledger.proxies():
            of = self._compiler.classify(state.node)
            self.publisher.offer(of, self._compiler.bundle(of))
            self.publisher.reclassify(state.node.id, of)


def _round(revision: int, batch: Batch) -> Round:
    return Round(
        revision=revision,
        batch=batch,
        classes={},
        bundles={},
        gone=frozenset(),
        is_complete=True,
        seconds=0.0,
    )


def _number(
    samples: Callable[[], Iterable[Sample]], name: str, labels: tuple[tuple[str, str], ...]
) -> float:
    return next(one.value for one in samples() if (one.name, one.labels) == (name, labels))
