"""Which authority a cluster has: one that was plugged in, or our own, whose keys are in a Secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mizzen_certs import Authority
from mizzen_operator.kube.keys import SecretStore

if TYPE_CHECKING:
    from mizzen.clock import Clock
    from mizzen.identity import TrustDomain
    from mizzen_certs import CaPolicy, Issuing
    from mizzen_operator.kube.connection import Connection


def open_authority(
    connection: Connection,
    namespace: str,
    trust_domain: TrustDomain,
    clock: Clock,
    *,
    policy: CaPolicy,
    owners: tuple[dict[str, Any], ...] = (),
) -> Issuing:
    """Return the authority of a control plane's namespace; it is founded where there is none.

    Takes I/O. Raises what :meth:`Authority.open` raises.
    """
    store = SecretStore(connection, namespace, owners=owners)
    return Authority.open(store, trust_domain, clock, policy)
