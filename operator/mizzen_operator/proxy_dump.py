"""What one proxy is to have, and what of it it has: the page behind ``mizzen config``.

Resources are given as they are sent, encoded; whoever asks decodes them. Keys are never given: a secret
is named, no more.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from mizzen.wire import TypeUrl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.bundle import Entry
    from mizzen_xds.change import View
    from mizzen_xds.channel import Channel
    from mizzen_xds.ledger import Ledger, Member

# A document in JSON's own types.
Document = dict[str, Any]


def proxy_dump(ledger: Ledger, proxy: str) -> Document | None:
    """Return the configuration of a connected proxy, by its id or as ``name.namespace``."""
    member = next((one for one in ledger.members() if _is_called(one, proxy)), None)
    if member is None:
        return None
    return {
        "proxy": member.node.id,
        "identity": str(member.identity),
        "envoy": member.node.envoy_version,
        "resources": {type_url.name: list(_resources(member, type_url)) for type_url in TypeUrl},
    }


def _is_called(member: Member, proxy: str) -> bool:
    node = member.node
    return proxy in (node.id, f"{node.name}.{node.namespace}")


def _resources(member: Member, type_url: TypeUrl) -> Iterator[Document]:
    channel, view = member.stream.channel(type_url), member.stream.view(type_url)
    if channel is None or view is None:
        return
    has = (resource.name for resource in channel.had.resources())
    for name in dict.fromkeys((*view.names(), *has)):
        if channel.had.subscription.matches(name):
            yield _resource(name, view, channel, is_secret=type_url is TypeUrl.SECRET)


def _resource(name: str, view: View, channel: Channel, *, is_secret: bool) -> Document:
    entry, had = view.get(name), channel.acknowledged(name)
    document = {"name": name, "state": _state(name, view, entry, had.version if had else None)}
    if entry is None:
        return document
    version = {"version": entry.resource.version}
    return {**document, **version, **_body(entry, is_secret=is_secret)}


def _body(entry: Entry, *, is_secret: bool) -> Document:
    return {} if is_secret else {"body": b64encode(entry.resource.body).decode("ascii")}


def _state(name: str, view: View, entry: Entry | None, had: str | None) -> str:
    """Return how far the proxy is with what it is to have under a name.

    What it refused is ``withheld``, or an earlier version that it took is ``kept``.
    """
    if view.withholds(name):
        return "withheld"
    if entry is None:
        return "leaving"
    if name in view.overrides:
        return "kept"
    return "acknowledged" if had == entry.resource.version else "pending"
