"""A pod in, the same pod with its proxy out: a pure function, for the webhook and offline alike."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mizzen.model.proxy import ProxyKind
from mizzen_operator.inject import raw
from mizzen_operator.inject.decide import INIT, PROXY, REVISION, STATUS
from mizzen_operator.inject.merge import overlaid
from mizzen_operator.inject.metrics import own_metrics, scraped_here, wants_scraping
from mizzen_operator.inject.probes import rewrite_probes
from mizzen_operator.inject.proxy import Opened, proxy_arguments
from mizzen_operator.inject.script import capture_script
from mizzen_operator.inject.template import Rendering, render
from mizzen_operator.inject.wishes import (
    DNS_CAPTURE,
    INTERCEPTION,
    NO_INTERCEPTION,
    read_wishes,
)
from mizzen_operator.inject.workload import canonical_labels

if TYPE_CHECKING:
    from mizzen.capture import CaptureConfig
    from mizzen_operator.inject.raw import Json
    from mizzen_operator.inject.settings import InjectSettings
    from mizzen_operator.inject.wishes import Wishes

_GATEWAY: Final = "gateway"
_PROXY_UID: Final = 1337
_AUTO: Final = "auto"
_GRACE_SECONDS: Final = 30  # Kubernetes' default


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """A pod with its proxy, and what its owner should know."""

    pod: Json
    warnings: tuple[str, ...] = ()


def inject_pod(pod: Json, settings: InjectSettings) -> Injected:
    """Return a pod with its proxy; :class:`InjectionRefused` where it asks for what cannot be given."""
    wishes = read_wishes(pod, settings)
    made = copy.deepcopy(pod)
    own = _take_own(made)
    before = _names(made)
    kind = ProxyKind.ROUTER if _GATEWAY in wishes.templates else ProxyKind.SIDECAR
    opened = _open(made, wishes)
    if kind is ProxyKind.SIDECAR:
        _hold(made, wishes, settings)
    script = capture_script(wishes.capture) if wishes.capture is not None else ""
    rendering = Rendering(
        pod=pod,
        settings=settings,
        wishes=wishes,
        arguments=proxy_arguments(pod, kind, wishes, settings, opened),
        capture_script=script,
    )
    for name in wishes.templates:
        made = overlaid(made, render(name, rendering))
    _return_own(made, own)
    _order(made)
    _mark(made, before, wishes, settings)
    return Injected(pod=made, warnings=(*wishes.warnings, *_warnings(pod, wishes)))


def _take_own(pod: Json) -> Json | None:
    """Take out the container that the user wrote for the proxy, which comes over the template's."""
    for field in ("containers", "initContainers"):
        listed = raw.spec(pod).get(field) or []
        for container in listed:
            if container.get("name") == PROXY:
                listed.remove(container)
                return _own_wishes(container)
    return None


def _own_wishes(container: Json) -> Json:
    """Return what of the user's container is their wish.

    Of an image without a tag the API server makes the policy Always before it asks anybody.
    """
    if container.get("image") != _AUTO:
        return dict(container)
    return {
        name: value
        for name, value in container.items()
        if name != "image" and (name, value) != ("imagePullPolicy", "Always")
    }


def _return_own(pod: Json, own: Json | None) -> None:
    if own is None:
        return
    for listed in (raw.init_containers(pod), raw.containers(pod)):
        for place, container in enumerate(listed):
            if container.get("name") == PROXY:
                listed[place] = overlaid(container, own)


def _names(pod: Json) -> dict[str, set[str]]:
    fields = ("initContainers", "containers", "volumes", "imagePullSecrets")
    return {
        field: {str(one.get("name")) for one in raw.spec(pod).get(field) or []} for field in fields
    }


def _open(pod: Json, wishes: Wishes) -> Opened:
    """Rewrite what comes from outside of the mesh, in place; return what Envoy answers for it."""
    metrics = None
    if wishes.merge_metrics and wants_scraping(raw.annotations_of(pod)):
        metrics = own_metrics(raw.annotations_of(pod))
        pod.setdefault("metadata", {})["annotations"] = scraped_here(raw.annotations_of(pod))
    captured = wishes.capture is not None
    checks = rewrite_probes(pod) if wishes.rewrite_probes and captured else ()
    return Opened(checks=checks, metrics=metrics)


def _hold(pod: Json, wishes: Wishes, settings: InjectSettings) -> None:
    """Let applications that have no preStop hook serve on until all clients have learnt of their end."""
    seconds = wishes.hold_seconds
    grace = raw.spec(pod).get("terminationGracePeriodSeconds", _GRACE_SECONDS)
    # a grace that short is a wish to end at once
    if not settings.sleep_action or not 0 < 2 * seconds <= grace or not raw.is_service(pod):
        return
    for container in raw.containers(pod):
        if not (container.get("lifecycle") or {}).get("preStop"):
            lifecycle = dict(container.get("lifecycle") or {})
            container["lifecycle"] = lifecycle | {"preStop": {"sleep": {"seconds": seconds}}}


def _order(pod: Json) -> None:
    """Put capture first and the proxy after it, so that all other init containers have network."""
    first = {INIT: 0, PROXY: 1}
    if listed := raw.init_containers(pod):
        pod["spec"]["initContainers"] = sorted(
            listed, key=lambda one: first.get(str(one.get("name")), 2)
        )
    elif "initContainers" in raw.spec(pod):
        del pod["spec"]["initContainers"]


def _mark(pod: Json, before: dict[str, set[str]], wishes: Wishes, settings: InjectSettings) -> None:
    """Write down, as Istio does, what was added, and the names that telemetry uses.

    What capture does is written too: by it the control plane knows what comes to the proxy, and how.
    """
    metadata = pod.setdefault("metadata", {})
    metadata["labels"] = raw.labels_of(pod) | canonical_labels(pod)
    added = {field: sorted(names - before[field]) for field, names in _names(pod).items()}
    status = {field: names or None for field, names in added.items()}
    capture = wishes.capture
    mode = {INTERCEPTION: _mode(capture)} if capture is None or capture.transparent else {}
    dns = {DNS_CAPTURE: "true"} if capture and capture.dns else {}
    metadata["annotations"] = (
        raw.annotations_of(pod)
        | mode
        | dns
        | {
            REVISION: settings.revision,
            STATUS: json.dumps(status | {"revision": settings.revision}, sort_keys=True),
        }
    )


def _mode(capture: CaptureConfig | None) -> str:
    return NO_INTERCEPTION if capture is None else capture.interception.value


def _warnings(pod: Json, wishes: Wishes) -> tuple[str, ...]:
    """Return what a pod does that stands between it and its proxy."""
    return (*_outsiders(pod, wishes), *_resolution(pod))


def _resolution(pod: Json) -> tuple[str, ...]:
    policy = raw.spec(pod).get("dnsPolicy", "ClusterFirst")
    if policy not in ("Default", "None"):
        return ()
    return (f"with dnsPolicy {policy} the proxy may not find the control plane by its name",)


def _outsiders(pod: Json, wishes: Wishes) -> tuple[str, ...]:
    if wishes.capture is None:
        return ()
    contexts = [raw.spec(pod), *(one for one in raw.containers(pod) if one.get("name") != PROXY)]
    users = {(one.get("securityContext") or {}).get("runAsUser") for one in contexts}
    if _PROXY_UID not in users:
        return ()
    return (f"a container runs as user {_PROXY_UID}, Envoy's: what it sends is not captured",)
