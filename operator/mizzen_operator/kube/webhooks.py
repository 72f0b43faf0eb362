"""The webhooks: HTTPS with a certificate from our own authority, and the two objects that point to it.

The certificate is renewed like every other of the control plane's and used from the next handshake on.
The objects are made and kept by the holder of the Lease and are not in the chart: their caBundle is the
mesh's roots, which change, and what changes by itself is drift to whoever applies charts.

Source: admissionregistration.k8s.io/v1; admission.k8s.io/v1.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from mizzen_operator.kube.client import ApiError
from mizzen_operator.kube.paths import STEERING_KINDS, WATCHED, path
from mizzen_operator.kube.sites import end
from mizzen_xds.tls import Contexts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen_operator.address import Address
    from mizzen_operator.kube.client import ApiClient
    from mizzen_operator.logs import Log
    from mizzen_xds.tls import ServerIdentity

Json = dict[str, Any]
Handler = Callable[[Json], Awaitable[Json]]
# From how the webhooks are reached to the entries of a webhook configuration.
Entries = Callable[[Json], list[Json]]

INJECT: Final = "/inject"
VALIDATE: Final = "/validate"

_ADMISSION: Final = "admissionregistration.k8s.io/v1"
_MUTATING: Final = ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations")
_VALIDATING: Final = ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
# A review holds an object twice, and etcd takes none of more than 1.5 MiB.
_REVIEW_LIMIT_BYTES: Final = 8 * 1024 * 1024
_END_SECONDS: Final = 5.0
# How soon a configuration that somebody changed is mended.
_LOOK_SECONDS: Final = 15.0


class WebhookServer:
    """Answers the API server, from :meth:`start` to :meth:`stop`."""

    def __init__(
        self, identity: Callable[[], ServerIdentity], handlers: Mapping[str, Handler], log: Log
    ) -> None:
        self._contexts = Contexts(identity, protocols=("http/1.1",))
        self._handlers = handlers
        self._log = log
        self._runner: web.AppRunner | None = None
        self.requests_total: dict[str, int] = dict.fromkeys(handlers, 0)
        self.failures_total = 0

    async def start(self, address: Address) -> int:
        """Listen; return the port. ``OSError`` where that is not possible."""
        application = web.Application(client_max_size=_REVIEW_LIMIT_BYTES)
        for place in self._handlers:
            application.router.add_post(place, self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_END_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, address.host, address.port, ssl_context=self._contexts.current()
        )
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Close, once what is being answered is answered."""
        if self._runner is not None:
            await end(self._runner)

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests_total[request.path] += 1
        try:
            review = json.loads(await request.read())
            answer = await self._handlers[request.path](review)
        except Exception as error:  # noqa: BLE001  one review that breaks a handler is not the end of all others
            self.failures_total += 1
            self._log.error("review failed", path=request.path, reason=repr(error))
            return web.Response(status=500, text=f"{error!r}\n")
        return web.json_response(answer)


class WebhookConfigurations:
    """Keeps both configurations as they have to be, while ``is_leader``.

    ``entries`` gives the entries for injection and those for validation.
    """

    def __init__(
        self,
        api: ApiClient,
        log: Log,
        is_leader: Callable[[], bool],
        *,
        service: Json,
        injection: Entries | None,
        owners: tuple[Json, ...] = (),
    ) -> None:
        self._api = api
        self._log = log
        self._is_leader = is_leader
        self._service = service
        self._injection = injection
        self._owners = list(owners)
        self._roots = b""
        self._news = asyncio.Event()
        self.writes_total = 0

    def publish(self, roots: bytes) -> None:
        """Have API servers believe these roots."""
        self._roots = roots
        self._news.set()

    async def run(self) -> None:
        """Keep them until cancelled."""
        while True:
            if self._is_leader() and self._roots:
                await self._keep()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS if self._is_leader() else 1.0):
                    await self._news.wait()
            self._news.clear()

    async def _keep(self) -> None:
        try:
            if self._injection is not None:
                entries = self._injection(self._client_config(INJECT))
                await self._apply(_MUTATING, "mizzen-injector", entries)
            entries = validation_webhooks(self._client_config(VALIDATE))
            await self._apply(_VALIDATING, "mizzen-validator", entries)
        except ApiError as error:
            self._log.warning("webhooks not configured", reason=str(error))

    async def _apply(self, kind: tuple[str, str], name: str, entries: list[Json]) -> None:
        """Make sure of a configuration; what is so already is not written (nor versioned) anew."""
        wanted = {
            "apiVersion": _ADMISSION,
            "kind": kind[0],
            "metadata": {
                "name": name,
                "labels": {"app.kubernetes.io/managed-by": "mizzen"},
                "ownerReferences": self._owners,
            },
            "webhooks": entries,
        }
        await self._api.patch(path(_ADMISSION, kind[1], name=name), wanted, "apply", force=True)
        self.writes_total += 1

    def _client_config(self, place: str) -> Json:
        bundle = b64encode(self._roots).decode("ascii")
        return {"caBundle": bundle} | (
            {"url": self._service["url"] + place}
            if "url" in self._service
            else {"service": {**self._service, "path": place, "port": 443}}
        )


def validation_webhooks(client_config: Json) -> list[Json]:
    """Return the entries for validation: every mesh object, and none that is refused while we are away.

    What is wrong in itself is refused by the CRDs' own rules then.
    """
    groups: dict[str, list[str]] = {}
    for resource in WATCHED:
        if resource.kind in STEERING_KINDS:
            groups.setdefault(resource.group, []).append(resource.plural)
    rules = [
        {
            "apiGroups": [group],
            "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE"],
            "resources": plurals,
            "scope": "*",
        }
        for group, plurals in groups.items()
    ]
    return [
        {
            "name": "validator.mizzen.dev",
            "clientConfig": client_config,
            "admissionReviewVersions": ["v1"],
            "rules": rules,
            "failurePolicy": "Ignore",
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": 5,
        }
    ]
