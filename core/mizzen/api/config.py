"""Secret and ConfigMap (core/v1): keys, certificates and small settings."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from mizzen.api.findings import Finding, invalid
from mizzen.api.mesh_config import KEY, mesh_config, mesh_findings
from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.model.kube import ConfigMap, PrivateBytes, Secret
from mizzen.model.mesh import MESH_CONFIG_MAPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.model.meta import Meta
    from mizzen.names import ObjectKey


class SecretManifest(Manifest):
    """A Secret; its fields stand at the top. Values never stand in a message."""

    OPEN: ClassVar[bool] = True

    type: str = Field(default="Opaque", description="What it holds.")
    data: dict[str, object] = Field(default_factory=dict, description="Values in base64.")
    string_data: dict[str, object] = Field(
        default_factory=dict, description="Values as they are; they win over data."
    )


class ConfigMapManifest(Manifest):
    """A ConfigMap; its fields stand at the top."""

    OPEN: ClassVar[bool] = True

    data: dict[str, str] = Field(default_factory=dict, description="Values.")


def read_secret(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the Secret that a manifest means."""
    return read(raw, key, SecretManifest, _secret, _check_secret)


def read_config_map(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the ConfigMap that a manifest means."""
    return read(raw, key, ConfigMapManifest, _config_map, _check_config_map)


def _check_secret(manifest: SecretManifest) -> Iterator[Finding]:
    # Types are checked here and not by the model, whose messages would show the value.
    for key, value in manifest.data.items():
        if not isinstance(value, str) or _decoded(value) is None:
            yield invalid(("data", key), "is not base64", "Encode it, or write it in stringData.")
    for key, value in manifest.string_data.items():
        if not isinstance(value, str):
            yield invalid(("stringData", key), "must be a string", "Write it in quotes.")


def _decoded(text: str) -> bytes | None:
    try:
        return b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _secret(manifest: SecretManifest, meta: Meta) -> Secret:
    values = {key: _decoded(str(text)) or b"" for key, text in manifest.data.items()}
    values.update((key, str(text).encode()) for key, text in manifest.string_data.items())
    data = tuple((key, PrivateBytes(value)) for key, value in sorted(values.items()))
    return Secret(meta=meta, type=manifest.type, data=data)


def _check_config_map(manifest: ConfigMapManifest) -> Iterator[Finding]:
    if manifest.metadata.name in MESH_CONFIG_MAPS and KEY in manifest.data:
        yield from mesh_findings(manifest.data[KEY])


def _config_map(manifest: ConfigMapManifest, meta: Meta) -> ConfigMap:
    mesh = manifest.data.get(KEY) if meta.name in MESH_CONFIG_MAPS else None
    return ConfigMap(
        meta=meta,
        data=tuple(sorted(manifest.data.items())),
        mesh=mesh_config(mesh) if mesh is not None else None,
    )
