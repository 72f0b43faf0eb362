"""The authority's keys in a Secret: one document, that whichever replica comes first makes.

What is written says which version it replaces, and the API server refuses it where that is not the
latest any more: two replicas never overwrite each other's root.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Final

from mizzen_certs import SecretBytes, StoreConflict, StoreCorrupt, StoreError
from mizzen_operator.kube.blocking import request
from mizzen_operator.kube.client import ApiError, ConflictError, NotFoundError
from mizzen_operator.kube.paths import SECRETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen_operator.kube.connection import Connection

Json = dict[str, Any]

CA_SECRET: Final = "mizzen-ca"  # noqa: S105  its name
_DOCUMENT: Final = "authority.json"
_MERGE: Final = "application/merge-patch+json"


class SecretStore:
    """Keeps an authority's document in the Secret ``mizzen-ca`` of a namespace.

    ``owners`` are what takes the Secret along when it is removed: what of us was installed.
    """

    def __init__(
        self, connection: Connection, namespace: str, *, owners: tuple[Json, ...] = ()
    ) -> None:
        self._connection = connection
        self._namespace = namespace
        self._owners = list(owners)
        self._document: SecretBytes | None = None
        self._version = ""

    def load(self) -> SecretBytes | None:
        """Return the document, or None where none was ever saved; raises :class:`StoreError`."""
        try:
            found = request(self._connection, "GET", self._path(CA_SECRET))
        except NotFoundError:
            return None
        except ApiError as error:
            raise _failed(self._namespace, error) from error
        self._document = SecretBytes(value(found, _DOCUMENT))
        self._version = found["metadata"]["resourceVersion"]
        return self._document

    def save(self, document: SecretBytes, *, replacing: SecretBytes | None) -> None:
        """Replace the document; :class:`StoreConflict` when another one is there by now."""
        data = {_DOCUMENT: b64encode(document.reveal()).decode("ascii")}
        try:
            if replacing is None:
                made = request(self._connection, "POST", self._path(), self._fresh(data))
            else:
                made = self._replace(data, replacing)
        except ConflictError as error:
            raise StoreConflict("the stored keys were changed by another replica") from error
        except ApiError as error:
            raise _failed(self._namespace, error) from error
        self._document, self._version = document, made["metadata"]["resourceVersion"]

    def _replace(self, data: Mapping[str, str], replacing: SecretBytes) -> Json:
        if replacing != self._document:
            raise StoreConflict("the stored keys were changed by another replica")
        patch = {"metadata": {"resourceVersion": self._version}, "data": data}
        path = self._path(CA_SECRET)
        return request(self._connection, "PATCH", path, patch, content_type=_MERGE)

    def _fresh(self, data: Mapping[str, str]) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": CA_SECRET, "ownerReferences": self._owners},
            "type": "Opaque",
            "data": data,
        }

    def _path(self, name: str | None = None) -> str:
        return SECRETS.path(self._namespace, name)


def value(secret: Mapping[str, Any], key: str) -> bytes:
    """Return one value of a Secret; :class:`StoreCorrupt` where it has none."""
    try:
        return b64decode(secret["data"][key], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        name = secret["metadata"]["name"]
        raise StoreCorrupt(f"the Secret {name} has no readable value {key}") from error


def _failed(namespace: str, error: ApiError) -> StoreError:
    return StoreError(f"the Secret {namespace}/{CA_SECRET} could not be used: {error}")
