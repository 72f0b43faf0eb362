"""Which authority a cluster has: one that was plugged in, or our own, whose keys are in a Secret.

One that is plugged in stands in the Secret ``cacerts`` of the control plane's namespace, as Istio's does,
or as cert-manager writes one (a Certificate with ``isCA: true`` and this ``secretName``). It is looked for
once, at the start: one that comes later is taken by the replicas that begin after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mizzen_certs import (
    Authority,
    PluggedAuthority,
    PluggedKeys,
    PrivateKeyPem,
    StoreCorrupt,
    StoreError,
)
from mizzen_operator.kube.blocking import request
from mizzen_operator.kube.client import ApiError, NotFoundError
from mizzen_operator.kube.keys import SecretStore, value
from mizzen_operator.kube.paths import SECRETS

if TYPE_CHECKING:
    from mizzen.clock import Clock
    from mizzen.identity import TrustDomain
    from mizzen_certs import CaPolicy, Issuing
    from mizzen_operator.kube.connection import Connection

PLUGGED: Final = "cacerts"


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
    if _plugged(connection, namespace) is not None:
        return PluggedAuthority(
            lambda: _plugged_still(connection, namespace), trust_domain, clock, policy
        )
    store = SecretStore(connection, namespace, owners=owners)
    return Authority.open(store, trust_domain, clock, policy)


def _plugged_still(connection: Connection, namespace: str) -> PluggedKeys:
    keys = _plugged(connection, namespace)
    if keys is None:
        raise StoreError(f"the Secret {namespace}/{PLUGGED} has vanished: put it back")
    return keys


def _plugged(connection: Connection, namespace: str) -> PluggedKeys | None:
    """Return what is plugged in, in either layout; None where nothing is."""
    try:
        secret = request(connection, "GET", SECRETS.path(namespace, PLUGGED))
    except NotFoundError:
        return None
    except ApiError as error:
        raise StoreError(f"the Secret {namespace}/{PLUGGED} cannot be read: {error}") from error
    names = (secret.get("data") or {}).keys()
    if "ca-cert.pem" in names:
        return PluggedKeys(
            certificate_pem=value(secret, "ca-cert.pem"),
            key=PrivateKeyPem(value(secret, "ca-key.pem")),
            roots_pem=value(secret, "root-cert.pem"),
            chain_pem=value(secret, "cert-chain.pem") if "cert-chain.pem" in names else b"",
        )
    if "tls.crt" in names:
        certificates = value(secret, "tls.crt")
        return PluggedKeys(
            certificate_pem=certificates,
            key=PrivateKeyPem(value(secret, "tls.key")),
            roots_pem=value(secret, "ca.crt"),
            chain_pem=certificates,
        )
    raise StoreCorrupt(
        f"the Secret {namespace}/{PLUGGED} is neither of Istio's layout (ca-cert.pem, ca-key.pem,"
        " root-cert.pem, cert-chain.pem) nor of cert-manager's (tls.crt, tls.key, ca.crt)"
    )
