"""Which pods the API server asks about: the entries of the MutatingWebhookConfiguration.

The selectors say what :func:`mizzen_operator.inject.decide.is_selected` says. A pod that no entry selects is
created whether Mizzen runs or not; one that is selected waits for it (``Fail``), for without its sidecar it
would run outside of the mesh.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen_operator.inject.decide import (
    DEFAULT_REVISION,
    INJECT,
    INJECTION,
    REVISION,
    SYSTEM_NAMESPACES,
)

if TYPE_CHECKING:
    from mizzen_operator.inject.raw import Json
    from mizzen_operator.inject.settings import InjectSettings

DOMAIN: Final = "sidecar-injector.mizzen.dev"
_NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"


def injection_webhooks(client_config: Json, settings: InjectSettings) -> list[Json]:
    """Return the entries (``webhooks``), in a fixed order; ``client_config`` says where to ask."""
    revision = settings.revision
    not_refused = _is_not(INJECT, "false")
    entries = {
        "rev.namespace": (
            [_is(REVISION, revision), _is_absent(INJECTION)],
            [not_refused],
        ),
        "rev.object": (
            [_is_absent(REVISION), _is_absent(INJECTION)],
            [not_refused, _is(REVISION, revision)],
        ),
    }
    if revision == DEFAULT_REVISION:
        entries["namespace"] = ([_is(INJECTION, "enabled")], [not_refused])
        entries["object"] = (
            [_is_absent(INJECTION), _is_absent(REVISION)],
            [_is(INJECT, "true"), _is_absent(REVISION)],
        )
        if settings.enabled_by_default:
            entries["auto"] = (
                [_is_absent(INJECTION), _is_absent(REVISION)],
                [_is_not(INJECT, "false"), _is_not(INJECT, "true"), _is_absent(REVISION)],
            )
    return [
        _entry(f"{name}.{DOMAIN}", client_config, namespaces, objects)
        for name, (namespaces, objects) in entries.items()
    ]


def _entry(name: str, client_config: Json, namespaces: list[Json], objects: list[Json]) -> Json:
    system = {
        "key": _NAMESPACE_NAME,
        "operator": "NotIn",
        "values": sorted(SYSTEM_NAMESPACES),
    }
    return {
        "name": name,
        "clientConfig": client_config,
        "admissionReviewVersions": ["v1"],
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "*",
            }
        ],
        "namespaceSelector": {"matchExpressions": [*namespaces, system]},
        "objectSelector": {"matchExpressions": objects},
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "reinvocationPolicy": "Never",
        "sideEffects": "None",
        "timeoutSeconds": 10,
    }


def _is(key: str, value: str) -> Json:
    return {"key": key, "operator": "In", "values": [value]}


def _is_not(key: str, value: str) -> Json:
    return {"key": key, "operator": "NotIn", "values": [value]}


def _is_absent(key: str) -> Json:
    return {"key": key, "operator": "DoesNotExist"}
