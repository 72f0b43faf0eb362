"""``mizzen config``: what a connected proxy is to have, as Envoy's own dump shows it, and what it has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import click
from typing_extensions import Unpack

from mizzen_cli.cluster import (
    FailedError,
    Options,
    address_option,
    cluster_options,
    control_planes,
    run,
)
from mizzen_cli.resource_types import TYPES

if TYPE_CHECKING:
    from mizzen_cli.cluster import Json


@click.command()
@click.argument("pod", metavar="NAME[.NAMESPACE]")
@click.argument("kind", type=click.Choice(list(TYPES)), required=False, metavar="[TYPE]")
@click.option("-n", "--namespace", default="default", show_default=True, help="The pod's.")
@click.option("-o", "output", type=click.Choice(["yaml", "json"]), default="yaml", help="Format.")
@address_option
@cluster_options
def config(
    pod: str,
    kind: str | None,
    namespace: str,
    output: str,
    addresses: tuple[str, ...],
    **options: Unpack[Options],
) -> None:
    """Show the configuration of the proxy of a pod: listeners, clusters, routes, endpoints or secrets.

    Each resource says whether the proxy has acknowledged it, is yet to (pending), has refused it
    (withheld, or an earlier version is kept), or is about to lose it (leaving). Of secrets only the
    names are shown.

    Exit codes: 0 done; 1 the proxy is not connected, or nobody could be asked; 2 the command line
    is wrong.
    """
    name = pod if "." in pod else f"{pod}.{namespace}"
    found = run(_ask(name, options, addresses))
    wanted = (kind,) if kind else tuple(TYPES)
    document = {
        "proxy": found["proxy"],
        "replica": found["replica"],
        "identity": found["identity"],
        "envoy": found["envoy"],
        **{each: _resources(found["resources"], each) for each in wanted},
    }
    _print(document, output)


async def _ask(name: str, options: Options, addresses: tuple[str, ...]) -> Json:
    async with control_planes(options, addresses) as replicas:
        pages = await replicas.ask_all(f"/proxies/{quote(name)}")
    for replica, page in pages.items():
        return {**page, "replica": replica}
    raise FailedError(f"no proxy {name} is connected; mizzen proxies shows all")


def _resources(encoded: dict[str, list[Json]], kind: str) -> list[Json]:
    return [_resource(name, item) for name in TYPES[kind] for item in encoded.get(name, ())]


def _resource(type_name: str, item: Json) -> Json:
    from base64 import b64decode  # noqa: PLC0415  # heavy imports wait for what is shown

    from mizzen.wire import Resource, TypeUrl  # noqa: PLC0415
    from mizzen_cli.dump import plain  # noqa: PLC0415

    head: Json = {part: item[part] for part in ("name", "state", "version") if part in item}
    if "body" not in item:
        return head
    resource = Resource(
        type=TypeUrl[type_name],
        name=item["name"],
        version=item["version"],
        body=b64decode(item["body"]),
        wire=b"",
    )
    return {**head, "resource": plain(resource)}


def _print(document: Json, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(document, indent=2))
        return
    import yaml  # noqa: PLC0415

    click.echo(yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False), nl=False)
