"""``mizzen proxies``: every connected proxy, which replica serves it, and how far it is."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from typing_extensions import Unpack

from mizzen_cli.cluster import Options, address_option, cluster_options, control_planes, run

if TYPE_CHECKING:
    from mizzen_cli.cluster import Json

_COLUMNS: Final = ("PROXY", "REPLICA", "ENVOY", "VERSION", "ACKNOWLEDGED", "STATE")


@click.command()
@click.argument("pod", required=False, metavar="[NAME.NAMESPACE]")
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="Format.")
@address_option
@cluster_options
def proxies(
    pod: str | None, output: str, addresses: tuple[str, ...], **options: Unpack[Options]
) -> None:
    """Show each proxy: the replica that it is connected to, what it is to have, has and refuses.

    Exit codes: 0 done; 1 a proxy refuses something, the POD has none, or nobody could be asked;
    2 the command line is wrong.
    """
    rows = run(_rows(options, addresses))
    shown = [row for row in rows if pod in (None, row["proxy"], row["id"])]
    if output == "json":
        click.echo(json.dumps(shown, indent=2))
    else:
        _print(shown)
    if pod is not None and not shown:
        click.echo(f"error: no proxy {pod} is connected; mizzen proxies shows all", err=True)
    sys.exit(1 if any(row["rejected"] for row in shown) or (pod and not shown) else 0)


async def _rows(options: Options, addresses: tuple[str, ...]) -> list[Json]:
    async with control_planes(options, addresses) as replicas:
        pages = await replicas.ask_all("/status")
    return sorted(
        (_row(replica, proxy) for replica, page in pages.items() for proxy in page["proxies"]),
        key=lambda row: (row["proxy"], row["replica"]),
    )


def _row(replica: str, proxy: Json) -> Json:
    return {
        "proxy": pod_of(proxy["id"]),
        "id": proxy["id"],
        "replica": replica,
        "identity": proxy["identity"],
        "envoy": proxy["envoy"],
        "connectedAt": proxy["connectedAt"],
        "version": proxy["target"],
        "acknowledged": proxy["acknowledged"],
        "state": _state(proxy),
        "rejected": proxy["nacks"],
    }


def pod_of(node: str) -> str:
    """Return ``name.namespace`` of a node id: ``sidecar~IP~NAME.NAMESPACE~DOMAIN`` (Istio)."""
    parts = node.split("~")
    return parts[2] if len(parts) == 4 else node


def _state(proxy: Json) -> str:
    if proxy["nacks"]:
        return f"refuses {len(proxy['nacks'])}"
    return "up to date" if proxy["upToDate"] else "pending"


def _print(rows: list[Json]) -> None:
    """Print a table, and below it what is refused, with Envoy's words."""
    from rich.console import Console  # noqa: PLC0415  # costs more than the rest of this module

    console = Console(highlight=False, soft_wrap=True)
    lines = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(_COLUMNS))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        console.print("  ".join(cells).rstrip(), markup=False)
    refused: dict[tuple[str, str], Any] = {
        (held["type"], held["name"]): held for row in rows for held in row["rejected"]
    }
    for held in refused.values():
        console.print(f"\n{held['type']} {held['name']}", markup=False)
        console.print(f"  Envoy says: {held['message']}", markup=False)
        console.print(f"  made from: {', '.join(held['origins'])}", markup=False)


def _cells(row: Json) -> tuple[str, ...]:
    values = (row[name] for name in ("proxy", "replica", "envoy", "version", "acknowledged"))
    return (*("-" if value is None else str(value) for value in values), row["state"])
