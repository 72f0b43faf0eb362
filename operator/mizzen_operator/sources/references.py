"""Which Secrets are fetched: those that a Gateway or a DestinationRule names (Istio: ``credentialName``).

A Gateway's Secrets stand in the namespaces in which the pods run that it selects, and not in its own: so it
is pods as well that decide. One without a selector names Secrets of its own namespace alone; whoever selects
everything would have a Secret of every namespace fetched otherwise. A DestinationRule's stand where its
clients run that may have them: those that it selects, in its own namespace, or else all gateways that see it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mizzen.model.kube import Pod
from mizzen.model.meta import NO_LABELS, Labels, labels, selects
from mizzen_operator.kube.authority import PLUGGED
from mizzen_operator.kube.keys import CA_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mizzen.model.world import Object
    from mizzen.names import ObjectKey

# A Secret's namespace and its name.
SecretName = tuple[str, str]

# A gateway may run beside the operator, and whoever writes a Gateway must not get it the mesh's own keys.
_NEVER: Final = frozenset((CA_SECRET, PLUGGED))
# Where the roots of clients may stand by themselves (Istio).
_ROOTS_SUFFIX: Final = "-cacert"


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """The names of Secrets in an object, and of which namespaces.

    Attributes:
        selector: Of a Gateway: they are of the namespaces of selected pods, where it is not empty.
        clients: Of a DestinationRule: which namespaces see it, ``*`` for all.
    """

    names: frozenset[str]
    namespace: str
    selector: Labels = NO_LABELS
    clients: frozenset[str] = frozenset()


class References:
    """What objects refer to; ``changes`` grows whenever that may be something else than before."""

    def __init__(self) -> None:
        self.changes = 0
        self._namings: dict[ObjectKey, Naming] = {}
        self._pods: dict[ObjectKey, Labels] = {}
        # How many pods of a namespace have some labels.
        self._labels: Counter[tuple[str, Labels]] = Counter()

    def note(self, key: ObjectKey, raw: Mapping[str, Any], meaning: Object | None) -> None:
        """Take in an object."""
        if isinstance(meaning, Pod):
            self._note_pod(key, meaning.meta.labels)
            return
        naming = naming_of(raw)
        if naming != self._namings.get(key):
            self.changes += 1
            if naming is None:
                del self._namings[key]
            else:
                self._namings[key] = naming

    def forget(self, key: ObjectKey) -> None:
        """Take out an object that is gone."""
        self._note_pod(key, None)
        if self._namings.pop(key, None) is not None:
            self.changes += 1

    def secrets(self) -> frozenset[SecretName]:
        """Return the Secrets that some object refers to."""
        return frozenset(
            (namespace, name)
            for naming in self._namings.values()
            for namespace in self._namespaces(naming)
            for name in naming.names
        )

    def _namespaces(self, naming: Naming) -> frozenset[str]:
        if naming.selector:
            return frozenset(ns for ns, of in self._labels if selects(naming.selector, of))
        own = frozenset((naming.namespace,))
        if not naming.clients:
            return own
        routers = frozenset(ns for ns, of in self._labels if self._is_selected(of))
        return own | (routers if "*" in naming.clients else routers & naming.clients)

    def _note_pod(self, key: ObjectKey, now: Labels | None) -> None:
        before = self._pods.get(key)
        if before == now:
            return
        if before is not None:
            del self._pods[key]
            self._labels[key.namespace, before] -= 1
            if not self._labels[key.namespace, before]:
                del self._labels[key.namespace, before]
        if now is not None:
            self._pods[key] = now
            self._labels[key.namespace, now] += 1
        if any(self._is_selected(of) for of in (before, now) if of is not None):
            self.changes += 1

    def _is_selected(self, of: Labels) -> bool:
        selectors = (naming.selector for naming in self._namings.values())
        return any(selector and selects(selector, of) for selector in selectors)


def naming_of(raw: Mapping[str, Any]) -> Naming | None:
    """Return what an object names; None where that is nothing. A Gateway's selector counts by itself."""
    namespace, spec = raw["metadata"].get("namespace", ""), raw.get("spec") or {}
    match raw.get("kind"):
        case "Gateway":
            names = _named(server.get("tls") for server in spec.get("servers") or ())
            selector = labels(spec.get("selector") or {})
            found = Naming(names=names, namespace=namespace, selector=selector)
            return found if names or selector else None
        case "DestinationRule":
            subsets = spec.get("subsets") or ()
            policies = [spec.get("trafficPolicy"), *(one.get("trafficPolicy") for one in subsets)]
            names = _named(tls for policy in policies if policy for tls in _tls_of(policy))
            found = Naming(names=names, namespace=namespace, clients=_clients(spec))
            return found if names else None
        case _:
            return None


def _named(blocks: Iterable[Mapping[str, Any] | None]) -> frozenset[str]:
    """Return the names in blocks of TLS, and those under which their roots may stand."""
    # kubernetes://namespace/name is not taken: a Secret of elsewhere is not its reader's to give.
    found = {name for tls in blocks for name in _names(tls or {}) if name and "/" not in name}
    return frozenset(f"{name}{end}" for name in found - _NEVER for end in ("", _ROOTS_SUFFIX))


def _clients(spec: Mapping[str, Any]) -> frozenset[str]:
    """Return the namespaces whose gateways a DestinationRule is for; its own is known."""
    return frozenset() if spec.get("workloadSelector") else frozenset(spec.get("exportTo") or "*")


def _tls_of(policy: Mapping[str, Any]) -> Iterator[Mapping[str, Any] | None]:
    yield policy.get("tls")
    yield from (port.get("tls") for port in policy.get("portLevelSettings") or ())


def _names(tls: Mapping[str, Any]) -> tuple[str, ...]:
    several = tuple(tls.get("credentialNames") or ())
    return (tls.get("credentialName") or "", tls.get("caCertCredentialName") or "", *several)
