"""``metadata``, and the head that all manifests have."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, PlainValidator, WithJsonSchema

from mizzen.api.base import ApiModel
from mizzen.model.meta import Meta, labels

if TYPE_CHECKING:
    from mizzen.names import ObjectKey

DEFAULT_NAMESPACE: Final = "default"
DRY_RUN: Final = "istio.io/dry-run"

# Annotations of others (kubectl's copy of the object, a slice's last trigger) change without meaning,
# and would make equal objects unequal.
_OUR_DOMAINS: Final = ("istio.io", "mizzen")


def _timestamp(value: object) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    if not isinstance(value, str):
        raise ValueError(f"must be a time such as 2026-01-31T12:00:00Z, not {value!r}")  # noqa: TRY004  pydantic reports ValueError alone
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"must be a time such as 2026-01-31T12:00:00Z, not {value!r}") from error
    if moment.tzinfo is None:
        raise ValueError(f"must have a time zone, such as 2026-01-31T12:00:00Z: {value!r}")
    return moment.timestamp()


Timestamp = Annotated[
    float, PlainValidator(_timestamp), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""RFC 3339, read as seconds since the epoch."""


class ObjectMeta(ApiModel):
    """Kubernetes' ObjectMeta. What has no meaning for a mesh is known by name and not read."""

    name: str = Field(min_length=1, max_length=253, description="Unique in the namespace.")
    namespace: str = Field(default="", max_length=63, description="Where the object lives.")
    labels: dict[str, str] = Field(default_factory=dict, description="What selectors look at.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Further settings.")
    creation_timestamp: Timestamp | None = Field(default=None, description="Decides conflicts.")
    generate_name: object = None
    uid: object = None
    resource_version: object = None
    generation: object = None
    deletion_timestamp: object = None
    deletion_grace_period_seconds: object = None
    owner_references: object = None
    finalizers: object = None
    managed_fields: object = None
    self_link: object = None


class Manifest(ApiModel):
    """The head of every manifest. ``status`` is known by name and never read."""

    api_version: str = Field(description="Group and version.")
    kind: str = Field(description="Kind.")
    metadata: ObjectMeta
    status: object = None


def to_meta(metadata: ObjectMeta, key: ObjectKey) -> Meta:
    """Return the part of an object's metadata that has meaning, under the key that it is known by."""
    kept = {name: text for name, text in metadata.annotations.items() if _is_ours(name)}
    return Meta(
        kind=key.kind,
        namespace=key.namespace,
        name=key.name,
        labels=labels(metadata.labels),
        annotations=labels(kept),
        created_s=metadata.creation_timestamp or 0.0,
        registry=key.registry,
    )


def _is_ours(annotation: str) -> bool:
    domain = annotation.partition("/")[0]
    return any(ours in domain for ours in _OUR_DOMAINS)
