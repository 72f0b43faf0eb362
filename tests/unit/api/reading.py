"""Short ways to read manifests in tests."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent
from typing import TYPE_CHECKING, Final

from mizzen.api.documents import split_documents
from mizzen.api.parse import parse_document
from mizzen.diagnostics import DEPRECATED, Severity
from mizzen.model.world import Parsed

if TYPE_CHECKING:
    from mizzen.diagnostics import Diagnostic
    from mizzen.model.world import Object

MANIFESTS: Final = Path(__file__).parent / "manifests"

_API_VERSIONS: Final = {
    "Service": "v1",
    "Pod": "v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "PeerAuthentication": "security.istio.io/v1",
    "AuthorizationPolicy": "security.istio.io/v1",
    "RequestAuthentication": "security.istio.io/v1",
    "EnvoyFilter": "networking.istio.io/v1alpha3",
    "ProxyConfig": "networking.istio.io/v1beta1",
    "Telemetry": "telemetry.istio.io/v1",
    "WasmPlugin": "extensions.istio.io/v1alpha1",
    "Ingress": "networking.k8s.io/v1",
}


def read_text(text: str, file: str = "mesh.yaml") -> tuple[Parsed | Diagnostic, ...]:
    """Return everything that a file's text means."""
    documents = split_documents(dedent(text))
    return tuple(found for document in documents for found in parse_document(document, file))


def read_one(text: str) -> Parsed:
    """Return the one object that a text means."""
    (found,) = read_text(text)
    assert isinstance(found, Parsed), found
    return found


def read_spec(kind: str, spec: str) -> Parsed:
    """Return the object of a kind with a spec; the spec begins on line 5 of the file."""
    version = _API_VERSIONS.get(kind, "networking.istio.io/v1")
    head = f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: it, namespace: shop}}\nspec:\n"
    return read_one(head + indent(dedent(spec).strip("\n"), "  "))


def read_manifest(name: str) -> dict[str, Parsed]:
    """Return the objects of one of the files in manifests/, by kind and name."""
    found = read_text((MANIFESTS / name).read_text(), name)
    parsed = [item for item in found if isinstance(item, Parsed)]
    assert len(parsed) == len(found)
    return {item.key.label: item for item in parsed}


def value(parsed: Parsed) -> Object:
    """Return the object, which has to be there without anything said of it but of old words."""
    assert [one for one in parsed.diagnostics if one.code is not DEPRECATED] == []
    assert parsed.object is not None
    return parsed.object


def told(parsed: Parsed) -> list[tuple[str, str, int]]:
    """Return code, path and line of every diagnostic."""
    return [_row(each) for each in parsed.diagnostics]


def _row(each: Diagnostic) -> tuple[str, str, int]:
    return each.code.id, each.path, each.location.line if each.location else 0


def errors(parsed: Parsed) -> list[tuple[str, str, int]]:
    """Return code, path and line of what keeps an object out of force."""
    return [_row(each) for each in parsed.diagnostics if each.code.severity is Severity.ERROR]
