"""A dependency-tracked memo: work once, and after a change again only what the change touches.

A *query* is a plain function ``(db, key) -> value`` that may read only through ``db``: inputs, other
queries, folds. What it depends on is therefore recorded by reading and never declared by hand; a hand-kept
cache key that forgets an input is a bug class that this module does away with.

How a change travels, in two phases (salsa's idea, with marks pushed and values pulled):

1. ``commit`` sets inputs. A cell whose value really differs marks its readers *dirty*, and those theirs.
   A dirty node remembers which of its dependencies are dirty, so that nothing looks at the clean ones.
2. A pull (``get``) of a dirty node first refreshes its dirty dependencies, in the order in which they were
   read. Only if one of them has changed since the node was last checked is the function run again; and
   if the new value equals the old one, the node counts as unchanged, and the wave stops there.

A *fold* is an aggregate over many members (all virtual hosts of a scope) that is updated from the changed
members alone, so that its cost does not grow with the number of members.

Nodes that nobody reads any more are dropped at once; what the outside holds on to, it pins by pulling
and releases by ``forget``. Queries must be total: they may be asked for keys that no longer exist.

The law that everything rests on: after any sequence of commits, a pull gives what a fresh database with
the same inputs gives. It is tested with random edits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

K = TypeVar("K", bound=Hashable)
M = TypeVar("M", bound=Hashable)
V = TypeVar("V")
A = TypeVar("A")


class CycleError(RuntimeError):
    """A query asked, through others, for itself: a broken program, not a user's mistake."""


@dataclass(frozen=True, slots=True, eq=False)
class Input(Generic[K, V]):
    """A family of cells that are set from outside; an unset cell reads as ``default``."""

    name: str
    default: V

    def __call__(self, db: Database, key: K) -> V:
        """Read a cell."""
        value: V = db.pull(self, key)
        return value


@dataclass(frozen=True, slots=True, eq=False)
class Query(Generic[K, V]):
    """A memoised function of the database and one key."""

    name: str
    compute: Callable[[Database, K], V]

    def __call__(self, db: Database, key: K) -> V:
        """Return the value, computing it where it is not known or out of date."""
        value: V = db.pull(self, key)
        return value


def query(function: Callable[[Database, K], V]) -> Query[K, V]:
    """Make a query of a function."""
    return Query(function.__qualname__, function)


@dataclass(frozen=True, slots=True, eq=False)
class Fold(Generic[K, M, V, A]):
    """An aggregate of one member query over a set of keys.

    Attributes:
        members: The keys of the members, for a key of the fold.
        member: The value of one member, asked with ``(key of the fold, key of the member)``.
        start: The aggregate of no members.
        step: Returns the aggregate with changes ``member -> (old value, new value)`` applied, None
            standing for "not there". Must not depend on the order of the changes, and must return the
            very same object where nothing differs.
    """

    name: str
    members: Query[K, frozenset[M]]
    member: Query[tuple[K, M], V]
    start: A
    step: Callable[[A, Mapping[M, tuple[V | None, V | None]]], A]

    def __call__(self, db: Database, key: K) -> A:
        """Return the aggregate."""
        value: A = db.pull(self, key)
        return value


# A node's value is of whatever type its query returns; only the typed wrappers above let it out.
_Value = Any
_Source = Input[Any, Any] | Query[Any, Any] | Fold[Any, Any, Any, Any]


class _Node:
    """One memoised value, or one input cell, with its place in the graph.

    There are tens of them for each service of a mesh, most with one reader and few dependencies, which is
    why tuples stand here where sets would be handier.
    """

    __slots__ = (
        "changed_at",
        "checked_at",
        "deps",
        "dirty",
        "dirty_deps",
        "key",
        "pinned",
        "readers",
        "running",
        "source",
        "value",
    )

    def __init__(self, source: _Source, key: Hashable, value: _Value, revision: int) -> None:
        self.source = source
        self.key = key
        self.value: _Value = value
        self.changed_at = revision
        self.checked_at = -1
        self.dirty = not isinstance(source, Input)
        self.running = False
        self.pinned = False
        # Dependencies in the order of reading.
        self.deps: tuple[_Node, ...] = ()
        self.dirty_deps: set[_Node] | None = None
        self.readers: tuple[_Node, ...] | set[_Node] = ()

    @property
    def member_key(self) -> Hashable:
        """Which member of a fold this node is the value of."""
        _of_fold, key = cast("tuple[Hashable, Hashable]", self.key)
        return key

    def add_reader(self, reader: _Node) -> None:
        """Note that another node reads this one."""
        readers = self.readers
        if isinstance(readers, set):
            readers.add(reader)
        elif reader not in readers:
            many = len(readers) >= _FEW_READERS
            self.readers = {*readers, reader} if many else (*readers, reader)

    def drop_reader(self, reader: _Node) -> None:
        """Note that another node does not read this one any more."""
        if isinstance(self.readers, set):
            self.readers.discard(reader)
        else:
            self.readers = tuple(one for one in self.readers if one is not reader)

    def mark(self, dep: _Node) -> bool:
        """Note that a dependency may have changed; tell whether nothing was dirty before."""
        if self.dirty_deps is None:
            self.dirty_deps = set()
        self.dirty_deps.add(dep)
        was_clean, self.dirty = not self.dirty, True
        return was_clean


class _FoldNode(_Node):
    """The node of a fold: its dependencies are the set of keys and the members."""

    __slots__ = ("keys", "members")

    def __init__(self, source: _Source, key: Hashable, value: _Value, revision: int) -> None:
        super().__init__(source, key, value, revision)
        self.keys: _Node | None = None
        # Member key -> its node, and the value that is in the aggregate.
        self.members: dict[Hashable, tuple[_Node, _Value]] = {}


# Up to here readers are kept in a tuple: a set takes four times the memory.
_FEW_READERS: Final = 4
_UNSET = object()


class Database:
    """The inputs, the memo, and the graph between them. One thread uses it."""

    def __init__(self) -> None:
        self.revision = 0
        self._nodes: dict[tuple[_Source, Hashable], _Node] = {}
        # Who is being computed, and what it has read so far.
        self._reading: list[tuple[_Node, dict[_Node, None]]] = []

    def __len__(self) -> int:
        """Return how many cells and values are kept."""
        return len(self._nodes)

    def commit(self, changes: Iterable[tuple[Input[Any, Any], Hashable, object]]) -> int:
        """Set input cells, and return the new revision.

        A value equal to the one that stands there is no change.
        """
        self.revision += 1
        for source, key, value in changes:
            self._set(source, key, value)
        return self.revision

    def pull(self, source: _Source, key: Hashable) -> _Value:
        """Return an up-to-date value, and note that whoever is being computed has read it."""
        node = self._node(source, key)
        if node.dirty:
            self._refresh(node)
        if self._reading:
            reader, deps = self._reading[-1]
            if node not in deps:
                deps[node] = None
                node.add_reader(reader)
        else:
            node.pinned = True
        return node.value

    def peek(self, source: Input[Any, Any], key: Hashable) -> _Value:
        """Return what a cell holds, without noting that anything was read."""
        node = self._nodes.get((source, key))
        return source.default if node is None else node.value

    def forget(self, source: _Source, key: Hashable) -> None:
        """Let go of a value that was pulled from outside; it goes unless something else reads it."""
        node = self._nodes.get((source, key))
        if node is not None:
            node.pinned = False
            self._unread(node, [node])

    def inputs_of(self, source: _Source, key: Hashable) -> frozenset[tuple[str, Hashable]]:
        """Return the input cells that a value was made from, as (name, key)."""
        self.pull(source, key)
        seen: set[_Node] = set()
        stack = [self._node(source, key)]
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack.extend(_dependencies(node))
        return frozenset((n.source.name, n.key) for n in seen if isinstance(n.source, Input))

    # Setting and marking

    def _set(self, source: Input[Any, Any], key: Hashable, value: object) -> None:
        known = self.peek(source, key)
        if known is value or known == value:
            return
        node = self._node(source, key)
        # A cell is given up by identity with the default, so an equal value becomes that very one.
        node.value = source.default if value == source.default else value
        node.changed_at = self.revision
        self._mark_readers(node)
        if self._is_unread(node):
            del self._nodes[source, key]

    def _mark_readers(self, changed: _Node) -> None:
        stack = [changed]
        while stack:
            node = stack.pop()
            stack.extend(reader for reader in node.readers if reader.mark(node))

    # Pulling

    def _node(self, source: _Source, key: Hashable) -> _Node:
        node = self._nodes.get((source, key))
        if node is None:
            initial = source.default if isinstance(source, Input) else _UNSET
            # An unset cell has been what it is since before anything was read.
            kind = _FoldNode if isinstance(source, Fold) else _Node
            node = kind(source, key, initial, 0)
            self._nodes[source, key] = node
        return node

    def _refresh(self, node: _Node) -> None:
        if node.running:
            raise CycleError(f"{node.source.name}({node.key!r}) asks for itself")
        node.running = True
        try:
            if isinstance(node, _FoldNode):
                self._refresh_fold(node, cast("Fold[Any, Any, Any, Any]", node.source))
            elif isinstance(node.source, Query) and self._is_outdated(node):
                self._recompute(node, node.source)
        finally:
            node.running = False
        node.dirty = False
        node.dirty_deps = None
        node.checked_at = self.revision

    def _is_outdated(self, node: _Node) -> bool:
        if node.value is _UNSET:
            return True
        dirty = node.dirty_deps or ()
        for dep in dirty if len(dirty) == 1 else [d for d in node.deps if d in dirty]:
            if dep.dirty:
                self._refresh(dep)
            if dep.changed_at > node.checked_at:
                return True
        return False

    def _recompute(self, node: _Node, source: Query[Any, Any]) -> None:
        value = self._run(node, source.compute)
        if node.value is _UNSET or node.value != value:
            node.value = value
            node.changed_at = self.revision

    def _run(self, node: _Node, function: Callable[[Database, Any], _Value]) -> _Value:
        """Run a function in the name of a node, whose dependencies become what it reads."""
        before = node.deps
        deps: dict[_Node, None] = {}
        self._reading.append((node, deps))
        try:
            return function(self, node.key)
        except BaseException:
            # Nothing is known about the value: what was read before still leads here.
            deps.update(dict.fromkeys(before))
            raise
        finally:
            self._reading.pop()
            node.deps = tuple(deps)
            self._unread(node, [dep for dep in before if dep not in deps])

    def _refresh_fold(self, node: _FoldNode, fold: Fold[Any, Any, Any, Any]) -> None:
        first = node.value is _UNSET
        keys = self._node(fold.members, node.key)
        keys.add_reader(node)
        if keys.dirty:
            self._refresh(keys)
        known = node.members
        gone: set[Hashable] = set()
        fresh: set[Hashable] = set()
        if first or keys.changed_at > node.checked_at:
            gone, fresh = set(known) - keys.value, keys.value - known.keys()
        dirty = {d.member_key for d in node.dirty_deps or () if d.source is fold.member}
        touched = (dirty & known.keys()) - gone
        nodes = {key: self._member(node, fold, key) for key in fresh | touched}
        changes = {key: (known[key][1], None) for key in gone}
        for key, member in nodes.items():
            old = None if key in fresh else known[key][1]
            if key in fresh or member.value is not old:
                changes[key] = (old, member.value)
        before = fold.start if first else node.value
        value = fold.step(before, changes) if changes else before
        self._adopt(node, keys, nodes, gone)
        if first or value is not before:
            node.value = value
            node.changed_at = self.revision

    def _member(self, node: _Node, fold: Fold[Any, Any, Any, Any], key: Hashable) -> _Node:
        member = self._node(fold.member, (node.key, key))
        # From here on, so that it is not dropped when another member stops reading it meanwhile.
        member.add_reader(node)
        if member.dirty:
            self._refresh(member)
        return member

    def _adopt(
        self, node: _FoldNode, keys: _Node, nodes: dict[Hashable, _Node], gone: set[Hashable]
    ) -> None:
        """Make the graph say what a refreshed fold now consists of."""
        node.keys = keys
        for key, member in nodes.items():
            node.members[key] = (member, member.value)
        self._unread(node, [node.members.pop(key)[0] for key in gone])

    # Letting go

    def _unread(self, reader: _Node, deps: Iterable[_Node]) -> None:
        """Take back that ``reader`` reads ``deps``, and drop what nobody reads any more."""
        stack = [(reader, dep) for dep in deps]
        while stack:
            who, dep = stack.pop()
            dep.drop_reader(who)
            if self._is_unread(dep):
                del self._nodes[dep.source, dep.key]
                stack.extend((dep, below) for below in _dependencies(dep))

    def _is_unread(self, node: _Node) -> bool:
        if node.readers or node.pinned:
            return False
        # A cell that is set is the world itself; one that reads as its default needs no keeping.
        return not isinstance(node.source, Input) or node.value is node.source.default


def _dependencies(node: _Node) -> Iterable[_Node]:
    """Return what a node has read."""
    if not isinstance(node, _FoldNode):
        return node.deps
    keys = () if node.keys is None else (node.keys,)
    return (*keys, *(member for member, _ in node.members.values()))
