"""The composition root of a replica on a cluster, ``mizzen operator``.

What a folder gives to a control plane at home, here the API server does: objects, the authority's keys in a
Secret, tokens by TokenReview. All replicas watch and serve; the one that holds the Lease writes: status, the
roots in every namespace, the webhooks' configurations, the next key of the authority.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mizzen.identity import TrustDomain
from mizzen.model.kube import Pod
from mizzen.model.mesh import MeshSettings
from mizzen_certs import CertsError, StoreCorrupt, StoreError, SystemClock
from mizzen_operator.admission.webhook import validation_handler
from mizzen_operator.inject.settings import InjectSettings
from mizzen_operator.inject.webhook import injection_handler
from mizzen_operator.inject.webhooks import injection_webhooks
from mizzen_operator.kube.authority import open_authority
from mizzen_operator.kube.bundles import RootBundles
from mizzen_operator.kube.client import ApiClient, ApiError
from mizzen_operator.kube.connection import ConfigError, auto
from mizzen_operator.kube.lease import Lease
from mizzen_operator.kube.owner import owners
from mizzen_operator.kube.paths import ROOTS_CONFIG_MAP
from mizzen_operator.kube.reviews import TokenReviews
from mizzen_operator.kube.webhooks import (
    INJECT,
    VALIDATE,
    WebhookConfigurations,
    WebhookServer,
)
from mizzen_operator.kube_settings import KubeSettings
from mizzen_operator.kube_status.home import KubeStatus, KubeStatusParts
from mizzen_operator.logs import Log
from mizzen_operator.plane import (
    Addresses,
    Home,
    Plane,
    Ports,
    StartError,
    run_until_told,
    settle_memory,
)
from mizzen_operator.settings import injection_settings
from mizzen_operator.sources.kube import KubeSource
from mizzen_operator.svids import NoSvids
from mizzen_operator.trust import ACCOUNT, Trust
from mizzen_xds.authn import Authenticator, PodIdentity
from mizzen_xds.errors import UnauthenticatedError
from mizzen_xds.metrics import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mizzen.clock import Clock
    from mizzen.diagnostics import Diagnostic
    from mizzen.model.world import Batch, Object
    from mizzen.names import ObjectKey
    from mizzen_certs import Issuing, RotationEvents
    from mizzen_operator.kube.connection import Connection
    from mizzen_operator.kube.webhooks import Handler

_RETRY_SECONDS: Final = 1.0


def run(settings: KubeSettings) -> None:
    """Run a replica until SIGTERM or SIGINT; :class:`StartError` where it cannot start."""
    log = Log(level=settings.log_level)
    operator = Operator(settings, SystemClock(), log, on_complete=settle_memory)
    run_until_told(operator.run, operator.replace_certificates)


class Operator:
    """A replica. ``on_complete`` is called once the cluster has been read and compiled."""

    def __init__(
        self,
        settings: KubeSettings,
        clock: Clock,
        log: Log,
        *,
        on_complete: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._log = log
        self._on_complete = on_complete
        self._replica: _Replica | None = None

    async def run(
        self, stop: asyncio.Event, *, on_listening: Callable[[Ports], None] | None = None
    ) -> None:
        """Serve until told to stop; :class:`StartError` where it cannot begin."""
        try:
            connection = auto(self._settings.kubeconfig)
        except ConfigError as error:
            raise StartError(str(error)) from error
        async with ApiClient(connection) as api:
            base = await self._begin(connection, api)
            self._replica = _Replica(base, self._on_complete)
            await self._replica.run(stop, on_listening)

    def replace_certificates(self) -> int:
        """Replace the issuing key and all certificates now; return how many proxies' identities."""
        return 0 if self._replica is None else self._replica.plane.renewal.replace_all()

    async def _begin(self, connection: Connection, api: ApiClient) -> _Base:
        """Get from the API server what nothing can be begun without, as soon as it answers."""
        while True:
            try:
                return await self._base(connection, api)
            except StoreCorrupt as error:
                raise StartError(str(error)) from error
            except (ApiError, StoreError) as error:
                self._log.warning("cannot begin yet", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            except (CertsError, ValueError) as error:
                raise StartError(str(error)) from error

    async def _base(self, connection: Connection, api: ApiClient) -> _Base:
        settings = self._settings
        version = await api.get("/version")
        owned_by = await owners(api)
        authority = await asyncio.to_thread(
            open_authority,
            connection,
            settings.namespace,
            TrustDomain(settings.trust_domain),
            self._clock,
            policy=settings.lifetimes,
            owners=owned_by,
        )
        return _Base(
            settings=settings,
            connection=connection,
            api=api,
            clock=self._clock,
            log=self._log,
            authority=authority,
            owners=owned_by,
            injection=injection_settings(
                settings.injection,
                namespace=settings.namespace,
                sidecar_image=settings.sidecar_image,
                init_image=settings.init_image,
            ).for_version(_number(version["major"]), _number(version["minor"])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """What a replica begins with."""

    settings: KubeSettings
    connection: Connection
    api: ApiClient
    clock: Clock
    log: Log
    authority: Issuing
    owners: tuple[dict[str, object], ...]
    injection: InjectSettings


class _Replica:
    """The parts of a replica, wired to each other."""

    def __init__(self, base: _Base, on_complete: Callable[[], None] | None) -> None:
        self._base = base
        self._on_complete = on_complete
        settings, api, log = base.settings, base.api, base.log
        self._loop = asyncio.get_running_loop()
        self._accounts: dict[tuple[str, str], str] = {}
        self.lease = Lease(api, settings.namespace, settings.identity, log, owners=base.owners)
        self._trust = Trust(
            base.authority, NoSvids(), base.clock, log, namespace=settings.namespace
        )
        self._reviews = TokenReviews(api, base.authority.trust_domain)
        self._bundles = RootBundles(api, log, self.lease.is_held, owners=base.owners)
        self._configurations = WebhookConfigurations(
            api,
            log,
            self.lease.is_held,
            service=settings.webhook_service,
            injection=lambda config: injection_webhooks(config, base.injection),
            owners=base.owners,
        )
        self._webhooks = WebhookServer(self._trust.server_identity, self._handlers(), log)
        self._source = KubeSource(base.connection, log, namespace=settings.namespace)
        self.plane = Plane(
            self._home(),
            Addresses(http=settings.http, xds=settings.xds),
            base.clock,
            log,
            on_complete=self._complete,
        )
        self._status = KubeStatus(self._status_parts())

    async def run(self, stop: asyncio.Event, on_listening: Callable[[Ports], None] | None) -> None:
        """Serve until told to stop."""
        settings = self._base.settings
        async with AsyncExitStack() as stack:
            try:
                stack.push_async_callback(self._webhooks.stop)
                webhooks = await self._webhooks.start(settings.webhooks)
                stack.push_async_callback(self._status.stop)
                await self._status.start()
            except OSError as error:
                raise StartError(f"cannot listen: {error}") from error

            def listening(ports: Ports) -> None:
                if on_listening is not None:
                    on_listening(replace(ports, webhooks=webhooks))

            await self.plane.run(
                stop,
                self.lease.run(),
                self._bundles.run(),
                self._configurations.run(),
                self._status.run(),
                on_listening=listening,
                before_end=self._hand_over,
            )

    async def _hand_over(self) -> None:
        """Let another replica write, and the Service send proxies elsewhere, before anything ends."""
        self.plane.unready = "this replica is ending"
        self._base.log.info("handing over", seconds=self._base.settings.drain_seconds)
        await self.lease.release()
        await asyncio.sleep(self._base.settings.drain_seconds)

    def _home(self) -> Home:
        domain, settings = self._base.authority.trust_domain, self._base.settings
        return Home(
            what=self._base.connection.server,
            source=self._source,
            trust=self._trust,
            authenticator=Authenticator(
                trust_domain=domain,
                tokens=self._reviews,
                account_of=lambda namespace, pod: self._accounts.get((namespace, pod)),
            ),
            mesh=MeshSettings(trust_domain=domain, config_namespace=settings.namespace),
            publish_roots=self._publish_roots,
            intake=self._take,
            on_round=lambda made: self._status.take_round(made),  # noqa: PLW0108  it is made later
            on_findings=lambda findings: self._status.take_findings(findings),  # noqa: PLW0108  as above
            on_given=lambda given: self._status.take_given(given),  # noqa: PLW0108  as above
            tick=self._tick,
            samples=self._samples,
            may_see=self._may_see,
        )

    def _status_parts(self) -> KubeStatusParts:
        base = self._base
        return KubeStatusParts(
            api=base.api,
            ledger=self.plane.publisher.ledger,
            clock=base.clock,
            log=base.log,
            identity=self._trust.server_identity,
            authority=lambda: base.authority,
            is_leader=self.lease.is_held,
            trust_domain=base.authority.trust_domain,
            namespace=base.settings.namespace,
            replica=base.settings.identity,
            listens=base.settings.replicas,
            inject=base.injection,
            owners=base.owners,
        )

    def _handlers(self) -> Mapping[str, Handler]:
        base = self._base
        return {
            INJECT: injection_handler(base.injection),
            VALIDATE: validation_handler(self._consider, base.clock.now),
        }

    async def _may_see(self, token: str) -> bool:
        """Tell whether a token is our own account's: who may have one made could be us anyway."""
        try:
            shown = await self._reviews.identity(token) if token else None
        except UnauthenticatedError:
            return False
        identity = shown.identity if isinstance(shown, PodIdentity) else shown
        ours = (self._base.settings.namespace, ACCOUNT)
        return identity is not None and (identity.namespace, identity.service_account) == ours

    # What flows

    async def _consider(self, key: ObjectKey, item: Object) -> tuple[Diagnostic, ...]:
        return await self.plane.consider(key, item)

    def _complete(self) -> None:
        self._source.watch_now()
        if self._on_complete is not None:
            self._on_complete()

    def _publish_roots(self, roots: bytes) -> None:
        self._bundles.publish(roots)
        self._configurations.publish(roots)

    async def _tick(self) -> RotationEvents:
        """Rotate, or take over what the replica that may has rotated; in a thread, for it takes I/O."""
        authority = self._base.authority
        return await asyncio.to_thread(authority.tick if self.lease.is_held() else authority.follow)

    def _take(self, batch: Batch) -> Batch:
        """Note what is needed here, and take out what means nothing to a proxy; in the source's thread."""
        ours: dict[ObjectKey, Object | None] = {}
        for key, item in batch.changes.items():
            if key.kind == "Namespace" or _is_of_roots(key):
                ours[key] = item
            elif key.kind == "Pod":
                self._note_account(key, item)
        if ours:
            self._loop.call_soon_threadsafe(self._bundles.take, ours)
        if not any(map(_is_of_roots, ours)):
            return batch
        kept = {key: item for key, item in batch.changes.items() if not _is_of_roots(key)}
        return replace(batch, changes=kept)

    def _note_account(self, key: ObjectKey, item: Object | None) -> None:
        if isinstance(item, Pod):
            self._accounts[key.namespace, key.name] = item.service_account
        else:
            self._accounts.pop((key.namespace, key.name), None)

    def _samples(self) -> Iterator[Sample]:
        """Yield what is counted of the cluster's side."""
        yield Sample("mizzen_operator_lease_held", int(self.lease.is_held()))
        yield Sample("mizzen_operator_lease_transitions_total", self.lease.transitions_total)
        yield Sample("mizzen_operator_sweeps_total", self._source.sweeps_total)
        yield Sample("mizzen_operator_swept_objects_total", self._source.swept_objects_total)
        yield Sample("mizzen_operator_watch_restarts_total", self._source.restarts_total)
        yield Sample("mizzen_operator_token_reviews_total", self._reviews.reviews_total)
        yield Sample("mizzen_operator_token_review_failures_total", self._reviews.failures_total)
        yield Sample("mizzen_operator_root_writes_total", self._bundles.writes_total)
        for place, number in self._webhooks.requests_total.items():
            yield Sample("mizzen_operator_admission_reviews_total", number, (("path", place),))
        yield Sample("mizzen_operator_admission_failures_total", self._webhooks.failures_total)
        yield from self._status.samples()


def _is_of_roots(key: ObjectKey) -> bool:
    """Tell whether an object is what RootBundles writes; another ConfigMap has the mesh's settings."""
    return (key.kind, key.name) == ("ConfigMap", ROOTS_CONFIG_MAP)


def _number(text: str) -> int:
    """Return the number of a part of a version; some clouds write ``31+``."""
    return int("".join(filter(str.isdigit, text)) or 0)
