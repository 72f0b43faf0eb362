"""``docs/reference/``: a page for each kind, with every field, from the models (``make reference``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mizzen.api.crd_kinds import CUSTOM_KINDS
from mizzen.api.ingress import IngressManifest
from mizzen.api.kinds import KINDS
from mizzen.api.mesh_config import MeshConfigSpec
from tests.support.repository import ROOT
from tests.unit.api.fields import child, mark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from mizzen.api.base import ApiModel
    from mizzen.api.meta import Manifest

FOLDER: Final = ROOT / "docs" / "reference"
_INDEX: Final = """# The kinds, field by field

Every field that Mizzen knows of Istio's kinds, of Ingress and of the mesh's settings, from the models that read them
(`make reference` writes these pages). What a field becomes in Envoy, and which test shows it, stands in
[api-support.md](../api-support.md); what is said of mistakes in [diagnostics.md](../diagnostics.md).

| kind | versions | what it says |
| --- | --- | --- |
"""
_SHAPES: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
    "array": "list",
}
_REF: Final = re.compile(r"#/\$defs/(\w+)")
# An expression that says no more than the type that is named for it.
_DURATION: Final = re.compile(r"ns\|us\|")
_HIGHEST_INT: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A kind: where it is served, what it says, and the model of what its author writes.

    ``why_not`` is said of a kind that has no effect as a whole.
    """

    name: str
    versions: tuple[str, ...]
    says: str
    model: type[ApiModel]
    at: str = "spec"
    why_not: str = ""


def kinds() -> list[Page]:
    """Return the kinds that have a page, by name."""
    served = {kind.name: (kind.group, kind.versions) for kind in KINDS}
    found = [
        _page(kind.name, kind.description, kind.spec, served)
        for kind in CUSTOM_KINDS
        if kind.spec is not None
    ]
    found += [
        _page(
            "Ingress",
            "Routes into the cluster, as Kubernetes writes them.",
            IngressManifest,
            served,
        ),
        Page(
            name="MeshConfig",
            versions=("`data.mesh` of a ConfigMap",),
            says="Settings of the whole mesh.",
            model=MeshConfigSpec,
            at="data.mesh",
        ),
    ]
    return sorted(found, key=lambda page: page.name)


def _page(
    name: str, says: str, manifest: type[Manifest], served: dict[str, tuple[str, tuple[str, ...]]]
) -> Page:
    info = manifest.model_fields["spec"]
    model, marked = child(info.annotation), mark(info)
    assert model is not None
    why_not = marked.reason if marked is not None else ""
    return Page(
        name=name, versions=_versions(*served[name]), says=says, model=model, why_not=why_not
    )


def _versions(group: str, versions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"`{group}/{version}`" for version in versions)


def pages() -> dict[str, str]:
    """Return the text of every page by its file's name."""
    found = {f"{page.name}.md": _text(page) for page in kinds()}
    lines = [f"| [{p.name}]({p.name}.md) | {', '.join(p.versions)} | {p.says} |" for p in kinds()]
    return {"README.md": _INDEX + "\n".join(lines) + "\n", **found}


def _text(page: Page) -> str:
    schema = page.model.model_json_schema(by_alias=True)
    parts = {"": schema, **schema.get("$defs", {})}
    lines = [f"# {page.name}", "", page.says, "", f"Served as {', '.join(page.versions)}.", ""]
    if page.why_not:
        lines += [f"Read and checked, and told of (MZ0201): {page.why_not}.", ""]
    for number, model in enumerate(_models(page.model)):
        heading = page.at if number == 0 else model.__name__
        described = parts["" if number == 0 else model.__name__]
        lines += [f"## {heading}", "", _sentence(model), ""]
        lines += ["| field | type | meaning |", "| --- | --- | --- |"]
        lines += [_row(info, name, described) for name, info in model.model_fields.items()]
        lines.append("")
    return "\n".join(lines)


def _models(model: type[ApiModel]) -> list[type[ApiModel]]:
    """Return a model and all below it, each once, in the order in which a reader meets them."""
    found = [model]
    for one in found:
        for info in one.model_fields.values():
            below = child(info.annotation)
            if below is not None and below not in found:
                found.append(below)
    return found


def _sentence(model: type[ApiModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _row(info: FieldInfo, name: str, described: dict[str, Any]) -> str:
    field = info.alias or name
    meaning = info.description or ""
    if field in described.get("required", ()):
        meaning += " Required."
    marked = mark(info)
    if marked is not None:
        which = f" for {_words(marked.only)}" if marked.only else ""
        which += f" but for {_words(marked.unless)}" if marked.unless else ""
        meaning += f" **Not translated{which}:** {marked.reason}."
    return f"| `{field}` | {_type(described['properties'][field])} | {_cell(meaning)} |"


def _words(values: tuple[object, ...]) -> str:
    written = (str(v).lower() if isinstance(v, bool) else v or '""' for v in values)
    return ", ".join(f"`{value}`" for value in written)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("..", ".").strip()


def _type(schema: dict[str, Any]) -> str:
    """Return a type in words: what it is, and within which bounds."""
    for several in ("anyOf", "allOf"):
        if several in schema:
            inner = [one for one in schema[several] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(_type(one) for one in inner))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}{_length(schema, 'Items')}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_type(schema['additionalProperties'])}"
    return _plain_type(schema)


def _plain_type(schema: dict[str, Any]) -> str:
    name = _REF.fullmatch(schema.get("$ref", ""))
    if name is not None:
        return f"[{name[1]}](#{name[1].lower()})"
    if "enum" in schema or "const" in schema:
        return _words(tuple(schema.get("enum", (schema.get("const"),))))
    if _is_duration(schema):
        return "duration"
    shape = _SHAPES.get(schema.get("type", ""), "anything")
    return f"{shape}{_bounds(schema)}{_length(schema, 'Length')}"


def _is_duration(schema: dict[str, Any]) -> bool:
    rules = schema.get("x-kubernetes-validations", ())
    return bool(_DURATION.search(schema.get("pattern", ""))) or any(
        "duration(" in rule["rule"] for rule in rules
    )


def _bounds(schema: dict[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is None:
        return ""
    if most is None or most >= _HIGHEST_INT:
        return f" from {least:g}" if least >= 0 else ""
    return f", {least:g} to {most:g}"


def _length(schema: dict[str, Any], unit: str) -> str:
    least, most = schema.get(f"min{unit}", 0), schema.get(f"max{unit}")
    words = ["not empty"] if least == 1 else [f"at least {least}"] if least else []
    words += [f"at most {most}{' characters' if unit == 'Length' else ''}"] if most else []
    return f" ({', '.join(words)})" if words else ""


def present() -> dict[str, str]:
    """Return the text of each page that is there."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*"))}


def write() -> None:
    """Write every page anew, and remove those of kinds that are no more."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for stale in FOLDER.glob("*.md"):
        stale.unlink()
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def stale() -> Iterator[str]:
    """Yield the names of pages that are not what the models say, or are of no kind."""
    there, wanted = present(), pages()
    yield from sorted(n for n in there.keys() | wanted.keys() if there.get(n) != wanted.get(n))


if __name__ == "__main__":
    write()
