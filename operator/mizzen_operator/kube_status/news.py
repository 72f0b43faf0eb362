"""What is worth an Event: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.diagnostics import CERTIFICATE_ENDS, NO_SIDECAR, REJECTED
from mizzen_operator.kube.paths import RESOURCE_OF
from mizzen_operator.kube_status import row
from mizzen_operator.kube_status.herald import News, Subject
from mizzen_operator.kube_status.mesh import days

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from mizzen.names import ObjectKey
    from mizzen_operator.kube_status.mesh import Mesh
    from mizzen_operator.kube_status.records import Records

# A countdown says each of these once; hours count at the end.
_MARKS_DAYS: Final = (1, 2, 3, 7, 14, 30)


def newsworthy(
    rejected: Mapping[ObjectKey, tuple[str, ...]], records: Records, mesh: Mesh, uid: str
) -> Iterator[News]:
    """Yield what a person must know now; ``uid`` is MeshStatus's, empty where it is not there yet."""
    for key, texts in rejected.items():
        record = records.get(key)
        if record is not None:
            message = f"Envoy rejected it: {'; '.join(texts)}. {REJECTED.remedy}"
            yield News(about=_subject(key, record.uid), reason="Rejected", message=message)
    for name in mesh.uninjected:
        namespace, _, pod = name.partition("/")
        about = Subject(api_version="v1", kind="Pod", namespace=namespace, name=pod)
        message = f"{NO_SIDECAR.title}. {NO_SIDECAR.remedy}"
        yield News(about=about, reason="NoSidecar", message=message)
    left = mesh.certificates.expire - mesh.now
    if uid and mesh.certificates.is_ending(mesh.now):
        about = Subject(api_version=row.API_VERSION, kind=row.KIND, name=row.NAME, uid=uid)
        message = f"a certificate of the authority ends in {_mark(left)}. {CERTIFICATE_ENDS.remedy}"
        yield News(about=about, reason="CertificateEnds", message=message)


def _subject(key: ObjectKey, uid: str) -> Subject:
    return Subject(
        api_version=RESOURCE_OF[key.kind].api_version,
        kind=key.kind,
        namespace=key.namespace,
        name=key.name,
        uid=uid,
    )


def _mark(left: timedelta) -> str:
    """Return how long is left in the words of the countdown, so that each is said once."""
    mark = next((mark for mark in _MARKS_DAYS if left.days < mark), _MARKS_DAYS[-1])
    return days(left) if mark == 1 else f"less than {mark} days"
