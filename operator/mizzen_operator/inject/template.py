"""The templates (jinja2) that are laid over a pod: ours, and those that the mesh's owner adds by name.

A template gives YAML: a part of a pod. Values are written with ``tojson``, so nothing in a pod can add a
field that the template has not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import jinja2
import yaml
from jinja2.sandbox import SandboxedEnvironment

from mizzen_operator.inject.proxy import VARIABLES
from mizzen_operator.inject.raw import InjectionRefused
from mizzen_operator.inject.settings import (
    ROOT_CONFIG_MAP,
    ROOT_FOLDER,
    ROOT_KEY,
    TOKEN_AUDIENCE,
    TOKEN_FOLDER,
    TOKEN_NAME,
)

if TYPE_CHECKING:
    from mizzen_operator.inject.raw import Json
    from mizzen_operator.inject.settings import InjectSettings
    from mizzen_operator.inject.wishes import Wishes

_OWN: Final = ("sidecar", "gateway")
_TOKEN_SECONDS: Final = 43_200
_TOKEN_VOLUME: Final = "mizzen-token"  # noqa: S105 - a volume's name
_ROOT_VOLUME: Final = "mizzen-ca-root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """What a template may use."""

    pod: Json
    settings: InjectSettings
    wishes: Wishes
    arguments: list[str]
    capture_script: str = ""

    def variables(self) -> Json:
        """Return the names that stand in templates, and their values."""
        wishes, settings = self.wishes, self.settings
        transparent = wishes.capture is not None and wishes.capture.transparent
        added = [
            *(["NET_ADMIN"] if transparent else []),
            *(["NET_BIND_SERVICE"] if wishes.net_bind_service else []),
        ]
        return {
            "pod": self.pod,
            "settings": settings,
            "wishes": wishes,
            "arguments": self.arguments,
            "capture_script": self.capture_script,
            "image": wishes.image or settings.sidecar_image,
            "native": wishes.native,
            "documents": dict(settings.documents.values()),
            "resources": _resources(wishes, settings),
            # to open sockets with others' addresses, which is what TPROXY is
            "runs_as_root": transparent,
            "added_capabilities": added,
            "variables": VARIABLES,
            "volumes": [*_volumes(settings), *wishes.volumes],
            "volume_mounts": [*_mounts(), *wishes.volume_mounts],
        }


def render(name: str, rendering: Rendering) -> Json:
    """Return the part of a pod that a template gives; :class:`InjectionRefused` where it gives none."""
    settings = rendering.settings
    if name not in (*_OWN, *settings.templates):
        known = ", ".join(sorted({*_OWN, *settings.templates}))
        raise InjectionRefused(f"inject.istio.io/templates: {name!r} is not one of {known}")
    added = tuple(sorted(settings.templates.items()))
    try:
        text = _environment(added).get_template(f"{name}.yaml.j2").render(rendering.variables())
        found = yaml.load(text, Loader=_LOADER)  # noqa: S506 - the C form of the safe loader
    except (jinja2.TemplateError, yaml.YAMLError) as wrong:
        raise InjectionRefused(f"the template {name!r} is broken: {wrong}") from wrong
    if not isinstance(found, dict):
        raise InjectionRefused(f"the template {name!r} gives no part of a pod")
    return found


_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@lru_cache(maxsize=4)
def _environment(templates: tuple[tuple[str, str], ...]) -> SandboxedEnvironment:
    """Return an environment with templates added; to compile them takes four times as long as all else."""
    added = {f"{name}.yaml.j2": text for name, text in templates}
    return SandboxedEnvironment(
        loader=jinja2.ChoiceLoader(
            [jinja2.DictLoader(added), jinja2.PackageLoader("mizzen_operator.inject")]
        ),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )


def _resources(wishes: Wishes, settings: InjectSettings) -> Json:
    """Return what a proxy asks for; a pod that says something of its own says it all (Istio)."""
    own = (wishes.cpu_request, wishes.memory_request, wishes.cpu_limit, wishes.memory_limit)
    default = settings.resources
    if any(own):
        cpu, memory, cpu_limit, memory_limit = own
    else:
        cpu, memory = default.cpu_request, default.memory_request
        cpu_limit, memory_limit = default.cpu_limit, default.memory_limit
    found = {
        "requests": {"cpu": cpu, "memory": memory},
        "limits": {"cpu": cpu_limit, "memory": memory_limit},
    }
    said = {kind: {name: v for name, v in of.items() if v} for kind, of in found.items()}
    return {kind: of for kind, of in said.items() if of}


def _volumes(settings: InjectSettings) -> list[Json]:
    token = {
        "audience": TOKEN_AUDIENCE,
        "expirationSeconds": _TOKEN_SECONDS,
        "path": TOKEN_NAME,
    }
    documents = [
        {"path": name, "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}
        for name, (annotation, _) in settings.documents.items()
    ]
    sources = [{"serviceAccountToken": token}, {"downwardAPI": {"items": documents}}]
    return [
        {"name": _TOKEN_VOLUME, "projected": {"sources": sources}},
        {
            "name": _ROOT_VOLUME,
            "configMap": {
                "name": ROOT_CONFIG_MAP,
                "items": [{"key": ROOT_KEY, "path": ROOT_KEY}],
            },
        },
    ]


def _mounts() -> list[Json]:
    return [
        {"name": _TOKEN_VOLUME, "mountPath": TOKEN_FOLDER, "readOnly": True},
        {"name": _ROOT_VOLUME, "mountPath": ROOT_FOLDER, "readOnly": True},
    ]
