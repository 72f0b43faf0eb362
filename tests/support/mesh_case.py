"""A golden case: a file of manifests, and what comes of it for the proxies that it names.

The first document of a case says for which proxies the outcome is kept, and which of them have a local
cluster::

    proxies: [frontend.shop]
    local clusters: [frontend.shop]
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import yaml

from mizzen.api.documents import split_documents
from mizzen.api.parse import parse_document
from mizzen.compile import Compiler
from mizzen.diagnostics import Diagnostic
from mizzen.model.kube import Pod
from mizzen.model.meta import label
from mizzen.model.proxy import NodeInfo, ProxyKind
from mizzen.model.world import Batch, Object
from mizzen.wire import TypeUrl
from tests.support.show import show

if TYPE_CHECKING:
    from pathlib import Path

    from mizzen.bundle import Bundle
    from mizzen.names import ObjectKey
    from mizzen.wire import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A world of manifests, compiled."""

    proxies: dict[str, Bundle]
    diagnostics: tuple[Diagnostic, ...]
    objects: dict[ObjectKey, Object] = field(default_factory=dict)

    def resources(self) -> list[Resource]:
        """Return every resource of every proxy, each once."""
        found = {
            (entry.resource.type, entry.resource.name, entry.resource.version): entry.resource
            for bundle in self.proxies.values()
            for tables in bundle.tables.values()
            for table in tables
            for entry in table.values()
        }
        return list(found.values())


def load_case(path: Path) -> Case:
    """Compile a case's file."""
    head, *documents = split_documents(path.read_text())
    wanted = yaml.safe_load(head.text)
    names: list[str] = wanted["proxies"]
    keeping = wanted.get("local clusters", ())
    objects: dict[ObjectKey, Object] = {}
    diagnostics: list[Diagnostic] = []
    for document in documents:
        for parsed in parse_document(document, path.name):
            if isinstance(parsed, Diagnostic):
                diagnostics.append(parsed)
                continue
            diagnostics += parsed.diagnostics
            if parsed.object is not None:
                objects[parsed.key] = parsed.object
    compiler = Compiler()
    compiler.commit(Batch(changes=dict(objects)))
    nodes = {
        name: replace(node_of(name, objects), has_local_cluster=name in keeping) for name in names
    }
    bundles = {name: compiler.bundle(compiler.classify(nodes[name])) for name in sorted(names)}
    diagnostics += [one for found in compiler.analyze().values() for one in found]
    return Case(proxies=bundles, diagnostics=tuple(diagnostics), objects=objects)


def node_of(name: str, objects: dict[ObjectKey, Object]) -> NodeInfo:
    """Return the node that the Envoy of a pod (``name.namespace``) says it is."""
    pod_name, _, namespace = name.rpartition(".")
    for item in objects.values():
        if isinstance(item, Pod) and (item.meta.name, item.meta.namespace) == (pod_name, namespace):
            router = label(item.meta.labels, "istio") == "ingressgateway"
            kind = ProxyKind.ROUTER if router else ProxyKind.SIDECAR
            return NodeInfo(
                id=f"{kind}~{item.ips[0]}~{name}~{namespace}.svc.cluster.local",
                kind=kind,
                ip=item.ips[0],
                name=pod_name,
                namespace=namespace,
                labels=item.meta.labels,
            )
    raise LookupError(f"the case has no pod {name}")


def render_case(case: Case) -> str:
    """Return the outcome as people read it: what is told, then what each proxy gets."""
    shown = {
        "diagnostics": [_told(one) for one in case.diagnostics],
        "proxies": {name: _shown(bundle) for name, bundle in case.proxies.items()},
    }
    return yaml.safe_dump(shown, sort_keys=False, width=100, allow_unicode=True)


def _told(one: Diagnostic) -> dict[str, str]:
    told = {
        "code": one.code.id,
        "severity": str(one.code.severity),
        "object": str(one.object),
        "path": one.path,
        "line": str(one.location.line) if one.location else "",
        "message": one.message,
    }
    return {key: value for key, value in told.items() if value}


def _shown(bundle: Bundle) -> dict[str, object]:
    """Return a bundle's resources, and a digest of their bytes, which no hash seed may change."""
    entries = [entry for tables in bundle.tables.values() for t in tables for entry in t.values()]
    digest = blake2b(b"".join(entry.resource.wire for entry in entries), digest_size=8)
    return {"digest of all bytes": digest.hexdigest()} | {
        type_url.value.rpartition(".")[2]: {
            entry.resource.name: show(entry.resource)
            for table in tables
            for entry in table.values()
        }
        for type_url, tables in bundle.tables.items()
        if type_url is not TypeUrl.SECRET or any(tables)
    }
