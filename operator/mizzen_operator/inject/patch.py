"""The difference of two JSON values as a JSON Patch (RFC 6902), which is what a webhook answers with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen_operator.inject.raw import Json


def json_patch(old: Json, new: Json) -> list[Json]:
    """Return the operations that make the new value of the old one, in the order of keys."""
    return list(_differences("", old, new))


def _differences(path: str, old: object, new: object) -> Iterator[Json]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _of_objects(path, old, new)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(f"{path}/{index}", before, after)
    elif type(old) is not type(new) or old != new:  # in Python True equals 1, in JSON it does not
        # of lists that differ in length the whole is sent: an insertion in the middle moves all others
        yield {"op": "replace", "path": path, "value": new}


def _of_objects(path: str, old: Json, new: Json) -> Iterator[Json]:
    for key in sorted(old.keys() | new.keys()):
        where = f"{path}/{_escaped(key)}"
        if key not in new:
            yield {"op": "remove", "path": where}
        elif key not in old:
            yield {"op": "add", "path": where, "value": new[key]}
        else:
            yield from _differences(where, old[key], new[key])


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
