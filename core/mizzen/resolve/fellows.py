"""Fellows: who else does a proxy's work, and where, by which its Envoy reckons what its zone has to serve.

They are the workloads of its namespace that have its labels, but for those that tell one from the other: so a
proxy has one local cluster, whatever number of Services selects it, and clients without any Service have one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.ir import Endpoint, EndpointGroup, LocalityGroup
from mizzen.model.kube import Pod
from mizzen.model.meta import Labels
from mizzen.model.traffic import WorkloadEntry
from mizzen.names import LOCAL_CLUSTER, is_ip
from mizzen.resolve.whereabouts import workload_locality
from mizzen.resolve.world import FELLOWS, OBJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.engine import Database
    from mizzen.model.place import Locality, Whereabouts

# Endpoints have ports. Nobody connects to these.
_PORT: Final = 15_006


@query
def fellow_group(db: Database, key: tuple[str, Labels, Whereabouts]) -> EndpointGroup:
    """Return the workloads of a namespace with certain labels, as one of them at a place is to know them."""
    namespace, labels, where = key
    found: dict[Locality, set[str]] = {}
    for address, locality in _fellows(db, namespace, labels):
        found.setdefault(locality, set()).add(address)
    groups = (
        LocalityGroup(
            locality=where.as_called(place),
            endpoints=tuple(Endpoint(address=one, port=_PORT) for one in sorted(found[place])),
        )
        for place in sorted(found, key=lambda one: (one.region, one.zone, one.subzone))
    )
    return EndpointGroup(cluster=LOCAL_CLUSTER, groups=tuple(groups))


def _fellows(db: Database, namespace: str, labels: Labels) -> Iterator[tuple[str, Locality]]:
    for key in FELLOWS(db, (namespace, labels)):
        match OBJECT(db, key):
            case Pod(ips=(address, *_), is_ending=False) as workload:
                yield address, workload_locality(db, workload)
            case WorkloadEntry() as workload if is_ip(workload.endpoint.address):
                yield workload.endpoint.address, workload_locality(db, workload)
            case _:
                pass
