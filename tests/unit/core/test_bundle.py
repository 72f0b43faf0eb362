"""Tables know what changed between them, by memory where it reaches and by comparison where not."""

from __future__ import annotations

import pytest

from mizzen.bundle import EMPTY_TABLE, Bundle, Entry, Table
from mizzen.wire import TypeUrl, from_body
from tests.support.small_mesh import key


def entry(name: str, body: bytes = b"") -> Entry:
    return Entry(from_body(TypeUrl.CLUSTER, name, body))


def table(*names: str) -> Table:
    return Table({name: entry(name) for name in names})


def test_a_table_is_in_the_order_of_names() -> None:
    """Whatever the order of setting, iteration is sorted, also after updates."""
    made = table("c", "a").updated({"b": entry("b"), "d": entry("d")})
    assert list(made) == ["a", "b", "c", "d"]
    assert len(made) == 4
    assert made["b"].resource.name == "b"


def test_an_update_leaves_the_old_table_alone() -> None:
    """Tables are immutable."""
    old = table("a", "b")
    new = old.updated({"a": None, "b": entry("b", b"x")})
    assert list(old) == ["a", "b"]
    assert new == Table({"b": entry("b", b"x")})


def test_an_update_without_a_difference_is_the_same_table() -> None:
    """Setting what is there, and removing what is not, gives the very same object."""
    old = table("a")
    assert old.updated({"a": entry("a"), "z": None}) is old
    assert old.updated({}) is old


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"b": "added"}, {"b"}),
        ({"a": "changed"}, {"a"}),
        ({"a": None}, {"a"}),
        ({"a": None, "b": "added"}, {"a", "b"}),
    ],
)
def test_a_step_is_remembered(changes: dict[str, str | None], changed: set[str]) -> None:
    """Added, changed and removed names are those that changed since the table before."""
    old = table("a", "still")
    new = old.updated({n: entry(n, b.encode()) if b else None for n, b in changes.items()})
    assert new.changed_since(old) == changed


def test_steps_add_up() -> None:
    """Between tables several steps apart, the names of all steps count, even those that came round."""
    tables = [table("a")]
    for body in (b"1", b"2"):
        tables.append(tables[-1].updated({"a": entry("a", body)}))
    tables.append(tables[-1].updated({"b": entry("b")}))
    tables.append(tables[-1].updated({"a": entry("a")}))
    assert tables[4].changed_since(tables[0]) == {"a", "b"}
    assert tables[4].changed_since(tables[3]) == {"a"}
    assert tables[4].changed_since(tables[4]) == set()


def test_an_older_table_is_compared_name_by_name() -> None:
    """Going back in a lineage gives the same answer as going forward."""
    old = table("a", "b")
    new = old.updated({"a": None, "c": entry("c")})
    assert old.changed_since(new) == {"a", "c"}


def test_strangers_are_compared_name_by_name() -> None:
    """Two tables with nothing in common have the names that differ between them."""
    assert table("a", "b").changed_since(table("b", "c")) == {"a", "c"}


def test_a_memory_that_overflows_gives_way_to_comparison() -> None:
    """More steps than are remembered: the answer is that of a comparison, which sees what came round."""
    first = table("a", "b")
    last = first
    for step in range(200):
        last = last.updated({"a": entry("a", str(step).encode())})
    back = last.updated({"a": entry("a")}).updated({"b": entry("b", b"x")})
    assert back.changed_since(first) == {"b"}
    assert back.changed_since(last) == {"a", "b"}


def test_two_branches_of_one_table_are_told_apart() -> None:
    """A second update of an old table starts a memory of its own, and doesn't disturb the first."""
    root = table("a")
    left = root.updated({"l": entry("l")})
    right = root.updated({"r": entry("r")})
    longer = right.updated({"s": entry("s")})
    assert left.changed_since(root) == {"l"}
    assert right.changed_since(root) == {"r"}
    assert longer.changed_since(right) == {"s"}
    assert longer.changed_since(left) == {"l", "r", "s"}


def test_the_empty_table_is_no_ones_family() -> None:
    """Tables that begin with the common empty one share no memory with each other."""
    one = EMPTY_TABLE.updated({"a": entry("a")})
    other = EMPTY_TABLE.updated({"b": entry("b")})
    assert one.changed_since(EMPTY_TABLE) == {"a"}
    assert other.changed_since(EMPTY_TABLE) == {"b"}
    assert other.changed_since(one) == {"a", "b"}
    assert EMPTY_TABLE.changed_since(one) == {"a"}


def test_tables_of_one_family_are_equal_by_step_and_of_two_by_content() -> None:
    """Equality within a lineage costs nothing; between strangers it is about entries."""
    first = table("a")
    second = first.updated({"a": entry("a", b"x")})
    third = second.updated({"a": entry("a")})
    assert first != second
    assert first != third
    assert third == Table({"a": entry("a")})
    assert hash(first) != hash(Table({"a": entry("a")}))
    assert first != "a table"


def test_a_bundle_finds_an_entry_in_any_of_its_layers() -> None:
    """A type's tables are looked through in order; other types and names give None."""
    bundle = Bundle(revision=1, tables={TypeUrl.CLUSTER: (table("a"), table("b"))})
    found = bundle.get(TypeUrl.CLUSTER, "b")
    assert found is not None
    assert found.resource.name == "b"
    assert bundle.get(TypeUrl.CLUSTER, "c") is None
    assert bundle.get(TypeUrl.LISTENER, "a") is None
    assert bundle.layers(TypeUrl.LISTENER) == ()


def test_origins_and_requirements_are_part_of_an_entry() -> None:
    """An entry whose bytes are equal but whose makers differ is another entry."""
    resource = from_body(TypeUrl.CLUSTER, "a", b"")
    old = Table({"a": Entry(resource)})
    new = old.updated({"a": Entry(resource, origins=(key("Service", "a"),))})
    assert new.changed_since(old) == {"a"}
