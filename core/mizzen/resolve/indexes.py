"""An index of the World: from a key to the objects that have it, as inputs of the memo.

An index is kept entry by entry, each entry an input cell of its own, so that a query that asks "which
VirtualServices name this host" depends on that host's entry alone. Entries are sorted tuples of keys;
``<index>.keys`` is the set of keys that have an entry. What is as large as the mesh (all pods of a
namespace, all hosts) is put together only when somebody reads it, so that a change does not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from mizzen.engine import Database, Input

if TYPE_CHECKING:
    from mizzen.model.mesh import MeshSettings
    from mizzen.names import ObjectKey

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lazy(Generic[V]):
    """A cell's value that is made when it is first read.

    It is made from sets that go on changing. That is safe, because the commit that changes a set
    replaces the cell's value, and a reader always reads the present one.
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], V]) -> None:
        """Remember how the value is made."""
        self._make: Callable[[], V] | None = make
        self._made: V | None = None

    def __call__(self) -> V:
        """Return the value."""
        if self._make is not None:
            self._made, self._make = self._make(), None
        return cast("V", self._made)


@dataclass(frozen=True, slots=True, eq=False)
class Index(Generic[K]):
    """From a key to the objects that have it.

    ``keys_of`` says under which keys an object stands; it sees the object and the settings, nothing else.
    """

    name: str
    kinds: tuple[type[Any], ...]
    keys_of: Callable[[Any, MeshSettings], Iterable[K]]
    entries: Input[K, tuple[ObjectKey, ...] | Lazy[tuple[ObjectKey, ...]]] = field(init=False)
    keys: Input[str, Lazy[frozenset[K]] | None] = field(init=False)

    def __post_init__(self) -> None:
        """Make the cells."""
        object.__setattr__(self, "entries", Input(self.name, ()))
        object.__setattr__(self, "keys", Input(f"{self.name}.keys", None))

    def __call__(self, db: Database, key: K) -> tuple[ObjectKey, ...]:
        """Return the sorted keys of the objects under a key."""
        entry = self.entries(db, key)
        return entry() if isinstance(entry, Lazy) else entry

    def all_keys(self, db: Database) -> frozenset[K]:
        """Return every key that has an object."""
        keys = self.keys(db, "")
        return frozenset() if keys is None else keys()
