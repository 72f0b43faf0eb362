"""Delegation between VirtualServices: delegates that are missing, unused, or outside of their roots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks.findings import Found, finding, listed
from mizzen.model.routing import HttpRoute, VirtualService
from mizzen.resolve.delegates import delegate_key, delegate_of, merged_rules
from mizzen.resolve.world import OBJECT, ROOTS_OF

if TYPE_CHECKING:
    from mizzen.engine import Database


def check(db: Database, item: VirtualService) -> Found:
    """Yield what is wrong between a VirtualService and those that it delegates to, or that do to it."""
    for number, rule in enumerate(item.http):
        if rule.delegate is not None:
            yield from _root(db, item, rule, f"spec.http[{number}].delegate")
    if not item.hosts:
        yield from _delegate(db, item)


def _root(db: Database, item: VirtualService, rule: HttpRoute, path: str) -> Found:
    delegate = delegate_of(db, item, rule)
    if delegate is None:
        yield finding(codes.UNKNOWN_DELEGATE, item.meta, path, _why_none(db, item, rule))
        return
    lost = [n for n, merged in merged_rules(db, item, rule, delegate) if merged is None]
    if lost:
        rules = listed(f"http[{number}]" for number in lost)
        message = f"{rules} of {delegate.meta.key} could match what this rule does not"
        yield finding(codes.OUTSIDE_OF_ROOT, item.meta, path, message)


def _why_none(db: Database, item: VirtualService, rule: HttpRoute) -> str:
    key = delegate_key(item, rule)
    found = OBJECT(db, key) if key else None
    if not isinstance(found, VirtualService):
        return f"there is no {key}"
    if found.hosts:
        return f"{key} has hosts, so it is no delegate"
    return f"{key} is not exported to {item.meta.namespace}"


def _delegate(db: Database, item: VirtualService) -> Found:
    roots = [found for key in ROOTS_OF(db, item.meta.key) if (found := OBJECT(db, key))]
    if not roots:
        message = "it has no hosts, and no VirtualService delegates to it"
        yield finding(codes.UNUSED_DELEGATE, item.meta, "spec.hosts", message)
    for root in roots:
        if isinstance(root, VirtualService):
            yield from _outside(db, item, root)


def _outside(db: Database, item: VirtualService, root: VirtualService) -> Found:
    for outer, rule in enumerate(root.http):
        if delegate_key(root, rule) != item.meta.key or delegate_of(db, root, rule) is None:
            continue
        for number, merged in merged_rules(db, root, rule, item):
            if merged is None:
                message = f"it could match what http[{outer}] of {root.meta.key} does not"
                path = f"spec.http[{number}].match"
                yield finding(codes.OUTSIDE_OF_ROOT, item.meta, path, message)
