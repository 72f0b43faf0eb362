"""``mizzen translate``: what a proxy would get from a folder of YAML, offline."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mizzen_cli.resource_types import TYPES

if TYPE_CHECKING:
    from mizzen.bundle import Bundle
    from mizzen.model.kube import Pod
    from mizzen.model.proxy import NodeInfo
    from mizzen_cli.dump import Plain
    from mizzen_cli.offline import OfflineMesh


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--proxy", "name", required=True, metavar="NAME.NAMESPACE", help="Its pod, or Deployment."
)
@click.option("--type", "kind", type=click.Choice(list(TYPES)), help="Only this type.")
@click.option("-o", "output", type=click.Choice(["yaml", "json"]), default="yaml", help="Format.")
@click.option(
    "--as",
    "role",
    type=click.Choice(["sidecar", "router"]),
    help="What the proxy is; without it, a router if a Gateway selects its pod.",
)
def translate(directory: Path, name: str, kind: str | None, output: str, role: str | None) -> None:
    """Show the Envoy configuration that a proxy would get from the YAML below DIRECTORY.

    Routes come with their virtual hosts. Private keys are never shown. What is wrong with the YAML is
    reported on stderr; see `mizzen analyze`.

    Exit codes: 0 done; 1 there is no such proxy; 2 the command line is wrong.
    """
    from mizzen_cli.offline import load  # noqa: PLC0415  # heavy imports wait for the verb

    mesh = load(directory)
    node = _node(mesh, name, role)
    if node is None:
        click.echo(f"error: no Pod {name} below {directory}; {_known(mesh)}", err=True)
        sys.exit(1)
    if mesh.findings:
        click.echo(f"{len(mesh.findings)} findings: mizzen analyze {directory}", err=True)
    wanted = (kind,) if kind else tuple(TYPES)
    bundle = mesh.compiler.bundle(mesh.compiler.classify(node))
    _print({each: _resources(bundle, each) for each in wanted}, output)


def _node(mesh: OfflineMesh, name: str, role: str | None) -> NodeInfo | None:
    from mizzen.model.kube import Pod  # noqa: PLC0415
    from mizzen.model.proxy import NodeInfo, ProxyKind  # noqa: PLC0415
    from mizzen.names import DEFAULT_DOMAIN, DEFAULT_REGISTRY, ObjectKey  # noqa: PLC0415

    bare, _, namespace = name.rpartition(".")
    pod = mesh.compiler.objects.get(ObjectKey(DEFAULT_REGISTRY, "Pod", namespace, bare))
    if not isinstance(pod, Pod):
        return None
    kind = ProxyKind(role or ("router" if _is_selected(mesh, pod) else "sidecar"))
    ip = pod.ips[0] if pod.ips else ""
    return NodeInfo(
        id=f"{kind}~{ip}~{name}~{namespace}.svc.{DEFAULT_DOMAIN}",
        kind=kind,
        ip=ip,
        name=bare,
        namespace=namespace,
        labels=pod.meta.labels,
        service_account=pod.service_account,
        has_local_cluster=True,  # as those have whose bootstraps are made here
    )


def _is_selected(mesh: OfflineMesh, pod: Pod) -> bool:
    from mizzen.model.gateway import Gateway  # noqa: PLC0415
    from mizzen.model.meta import selects  # noqa: PLC0415

    return any(
        isinstance(item, Gateway) and item.selector and selects(item.selector, pod.meta.labels)
        for item in mesh.compiler.objects.values()
    )


def _known(mesh: OfflineMesh) -> str:
    pods = [f"{key.name}.{key.namespace}" for key in mesh.compiler.objects if key.kind == "Pod"]
    return f"there are {', '.join(sorted(pods))}" if pods else "there is no Pod at all"


def _resources(bundle: Bundle, kind: str) -> list[Plain]:
    from mizzen.wire import TypeUrl  # noqa: PLC0415
    from mizzen_cli.dump import plain, stand_ins  # noqa: PLC0415

    return [
        *(stand_ins() if kind == "secrets" else ()),
        *(
            plain(entry.resource)
            for type_name in TYPES[kind]
            for table in bundle.layers(TypeUrl[type_name])
            for entry in table.values()
        ),
    ]


def _print(resources: dict[str, list[Plain]], output: str) -> None:
    if output == "json":
        click.echo(json.dumps(resources, indent=2))
        return
    import yaml  # noqa: PLC0415

    click.echo(yaml.dump(resources, Dumper=yaml.CSafeDumper, sort_keys=False), nl=False)
