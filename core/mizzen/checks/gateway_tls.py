"""Servers of a Gateway that end TLS: credentials that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks.findings import Found, finding
from mizzen.model.proxy import Workload
from mizzen.resolve.gateway_tls import lacking

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.engine import Database
    from mizzen.model.gateway import Gateway


def check(db: Database, item: Gateway, namespaces: Iterable[str]) -> Found:
    """Yield the credentials that a Gateway's servers lack in one of the namespaces of its routers."""
    lost: dict[str, str] = {}
    for namespace in namespaces:
        router = Workload(namespace=namespace, is_known=True)
        for number, server in enumerate(item.servers):
            for field, message in lacking(db, router, server.tls) if server.tls else ():
                lost.setdefault(f"spec.servers[{number}].tls.{field}", message)
    for path in sorted(lost):
        yield finding(codes.UNKNOWN_CREDENTIAL, item.meta, path, lost[path])
