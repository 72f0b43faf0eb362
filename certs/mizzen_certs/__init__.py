"""The certificate authority: templates, signing, the check before release, rotation, stores."""

from mizzen_certs.authority import Authority
from mizzen_certs.clock import SystemClock
from mizzen_certs.errors import (
    CertificateRefused,
    CertsError,
    PeerRefused,
    StoreConflict,
    StoreCorrupt,
    StoreError,
    StoreUnsafe,
    TrustDomainMismatch,
)
from mizzen_certs.issuing import Issuing, RotationEvents
from mizzen_certs.peer import identity_of
from mizzen_certs.plugged import PluggedAuthority, PluggedKeys
from mizzen_certs.policy import CaPolicy
from mizzen_certs.secret import PrivateKeyPem, SecretBytes
from mizzen_certs.store import FileStore, KeyStore, MemoryStore
from mizzen_certs.svid import Svid, TrustBundle
from mizzen_certs.workload import Renewer

__all__ = [
    "Authority",
    "CaPolicy",
    "CertificateRefused",
    "CertsError",
    "FileStore",
    "Issuing",
    "KeyStore",
    "MemoryStore",
    "PeerRefused",
    "PluggedAuthority",
    "PluggedKeys",
    "PrivateKeyPem",
    "Renewer",
    "RotationEvents",
    "SecretBytes",
    "StoreConflict",
    "StoreCorrupt",
    "StoreError",
    "StoreUnsafe",
    "Svid",
    "SystemClock",
    "TrustBundle",
    "TrustDomainMismatch",
    "identity_of",
]
