"""The law: after any sequence of edits, the incremental result is that of a compile from nothing."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mizzen.compile import Compiler
from mizzen.model.world import Batch, Object
from mizzen.names import ObjectKey
from mizzen.wire import TypeUrl
from tests.support.worlds import PROXIES, batch_of, edits, passing_edits
from tests.support.worlds_gateways import PASSING

# Up to 5 batches of 4 edits an example: over 5,000 edits a run, counted and asserted below.
_EXAMPLES = 1_000
_MINIMUM_EDITS = 5_000
_counted = [0]


def _outcome(compiler: Compiler) -> list[object]:
    """Return everything that the compiler gives for some proxies, in the order of its tables.

    The findings come first, so that what they have read is there when bundles are asked for.
    """
    found: list[object] = [list(compiler.analyze().items())]
    for node in PROXIES:
        proxies = compiler.classify(node)
        bundle = compiler.bundle(proxies)
        found.append(proxies)
        for type_url, tables in bundle.tables.items():
            entries = [entry for table in tables for entry in table.values()]
            found.append((type_url, [(e.resource, e.origins, e.requires) for e in entries]))
    return found


@given(st.lists(st.lists(edits, min_size=1, max_size=4), min_size=2, max_size=5))
@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def _check_the_law(batches: list[list[Object | int]]) -> None:
    known: dict[ObjectKey, Object] = {}
    compiler = Compiler()
    for edited in batches:
        changes = batch_of(edited, known)
        _counted[0] += len(edited)
        compiler.commit(Batch(changes=changes))
        fresh = Compiler()
        fresh.commit(Batch(changes=dict(known)))
        assert _outcome(compiler) == _outcome(fresh)


def test_incremental_equals_from_scratch() -> None:
    """Over 5,000 random edits of every kind of object change the same bytes, origins and needs."""
    _counted[0] = 0
    _check_the_law()
    assert _counted[0] >= _MINIMUM_EDITS


_passed = [0]


@given(st.lists(st.lists(passing_edits, min_size=2, max_size=6), min_size=2, max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def _check_what_passes_through(batches: list[list[Object | int]]) -> None:
    known: dict[ObjectKey, Object] = {PASSING.meta.key: PASSING}
    compiler = Compiler()
    compiler.commit(Batch(changes=dict(known)))
    for edited in batches:
        compiler.commit(Batch(changes=batch_of(edited, known)))
        fresh = Compiler()
        fresh.commit(Batch(changes=dict(known)))
        assert _outcome(compiler) == _outcome(fresh)
        layers = compiler.bundle(compiler.classify(PROXIES[-1])).layers(TypeUrl.ENDPOINT)
        _passed[0] += any(name.startswith("outbound_.") for table in layers for name in table)


def test_what_passes_through_routers_equals_from_scratch() -> None:
    """The same of clusters for mutual TLS that goes on, in worlds that have many."""
    _passed[0] = 0
    _check_what_passes_through()
    assert _passed[0] >= 20


@given(st.lists(st.lists(edits, min_size=1, max_size=4), min_size=2, max_size=4), st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_only_considered_leaves_no_trace(
    batches: list[list[Object | int]], data: st.DataObject
) -> None:
    """Asking what would be wrong about objects gives what their commit gives, and changes nothing."""
    known: dict[ObjectKey, Object] = {}
    compiler = Compiler()
    for edited in batches:
        changes = batch_of(edited, known)
        present = [item for item in changes.values() if item is not None]
        if present:
            item = data.draw(st.sampled_from(present))
            found = compiler.consider(item.meta.key, item)
            fresh = Compiler()
            fresh.commit(Batch(changes={**compiler.objects, item.meta.key: item}))
            assert found == fresh.analyze().get(item.meta.key, ())
        compiler.commit(Batch(changes=changes))
        fresh = Compiler()
        fresh.commit(Batch(changes=dict(known)))
        assert _outcome(compiler) == _outcome(fresh)


@given(st.lists(st.lists(edits, min_size=1, max_size=6), min_size=1, max_size=2))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_changed_is_what_the_tables_say(batches: list[list[Object | int]]) -> None:
    """``Table.changed_since`` names exactly the entries that differ between two bundles."""
    known: dict[ObjectKey, Object] = {}
    compiler = Compiler()
    before = [compiler.bundle(compiler.classify(node)) for node in PROXIES]
    for edited in batches:
        compiler.commit(Batch(changes=batch_of(edited, known)))
    for old, node in zip(before, PROXIES, strict=True):
        new = compiler.bundle(compiler.classify(node))
        for type_url in new.tables:
            for was, now in zip(old.layers(type_url), new.layers(type_url), strict=True):
                really = {n for n in was.keys() | now.keys() if was.get(n) != now.get(n)}
                assert really <= now.changed_since(was)
