"""Istio's security objects (security.istio.io/v1) as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from mizzen.model.meta import NO_LABELS, Labels, Meta


class MtlsMode(StrEnum):
    """``PeerAuthentication.mtls.mode``; UNSET inherits."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAuthentication:
    """security.istio.io PeerAuthentication; ``selector`` None is the whole namespace (or mesh)."""

    meta: Meta
    selector: Labels | None = None
    mode: MtlsMode = MtlsMode.UNSET
    port_modes: tuple[tuple[int, MtlsMode], ...] = ()


class PolicyAction(StrEnum):
    """``AuthorizationPolicy.action``."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """``from[].source``: fields are ANDed, values of one field ORed, ``not_`` ones must not match."""

    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    not_service_accounts: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()
    not_trust_domains: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """``to[].operation``."""

    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """``when[]``: a key with allowed and refused values."""

    key: str
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``rules[]``: any of ``sources``, and any of ``operations``, and all of ``conditions``."""

    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An object that a policy is attached to, of the policy's own namespace.

    ``kind`` is Gateway or GatewayClass (of the Gateway API), Service or ServiceEntry.
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationPolicy:
    """security.istio.io AuthorizationPolicy.

    ``rules`` empty means that nothing matches (an ALLOW policy then denies everything). With ``targets`` it
    is for these alone, and the selector is empty. ``dry_run`` refuses nothing, and leaves in the proxy's statistics what it would have done.
    ``provider`` decides of what a CUSTOM policy matches.
    """

    meta: Meta
    selector: Labels = NO_LABELS
    action: PolicyAction = PolicyAction.ALLOW
    provider: str = ""
    rules: tuple[Rule, ...] = ()
    targets: tuple[Target, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtRule:
    """``jwtRules[]``: tokens of one issuer, and where requests carry them.

    Attributes:
        jwks: The key set as JSON; empty where it has to be fetched, from ``jwks_uri``, or where the issuer
            itself says (:class:`IssuerKeys`).
        timeout: For fetching; None is Istio's 5 s.
        from_headers: (name, prefix before the token).
        output_claim_to_headers: (header, claim).
    """

    issuer: str
    audiences: tuple[str, ...] = ()
    jwks: str = ""
    jwks_uri: str = ""
    timeout: timedelta | None = None
    from_headers: tuple[tuple[str, str], ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    output_payload_to_header: str = ""
    output_claim_to_headers: tuple[tuple[str, str], ...] = ()
    forward_original_token: bool = False
    space_delimited_claims: tuple[str, ...] = ()

    @property
    def is_to_be_asked(self) -> bool:
        """Tell whether only the issuer knows where its keys are."""
        return not self.jwks and not self.jwks_uri


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerKeys:
    """Where an issuer itself says that its keys are (OpenID Connect Discovery).

    Nobody writes it: the control plane asks issuers of which neither ``jwks`` nor ``jwksUri`` is written. An empty
    ``jwks_uri`` has a ``failure``.
    """

    meta: Meta
    jwks_uri: str = ""
    failure: str = ""


ISSUER_KEYS: Final = "IssuerKeys"


def issuer_meta(issuer: str) -> Meta:
    """Return what an issuer's own word is called."""
    return Meta(kind=ISSUER_KEYS, namespace="", name=issuer)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAuthentication:
    """security.istio.io RequestAuthentication; with ``targets`` it is for these alone."""

    meta: Meta
    selector: Labels = NO_LABELS
    rules: tuple[JwtRule, ...] = ()
    targets: tuple[Target, ...] = ()
