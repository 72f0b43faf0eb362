"""What Mizzen tells people about what they wrote: stable codes, each with a remedy.

A user's mistake is a value, never an exception past the edge. A code is never reused and never changes
its meaning; docs/diagnostics.md has a paragraph for each, held complete by a test in tests/shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mizzen.names import ObjectKey


class Severity(StrEnum):
    """How much it matters: an error is not in force, a warning may surprise, info explains."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """An entry of the catalogue: its id is stable, its remedy says what to do."""

    id: str
    severity: Severity
    title: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where in a file something stands; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        """Return ``file:line``, which terminals and editors make clickable."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding on one object.

    Attributes:
        code: The catalogue's entry.
        object: The object it stands on; ``None`` where a file could not be read as objects at all.
        path: The field, in the notation of Kubernetes: ``spec.http[0].route[1].weight``; may be empty.
        message: One sentence with the values in it.
        remedy: What to do; the code's own where nothing better is known.
        location: The file and line, where there is a file.
    """

    code: Code
    object: ObjectKey | None
    path: str
    message: str
    remedy: str = ""
    location: Location | None = None

    @property
    def advice(self) -> str:
        """The remedy of this finding, or else of its code."""
        return self.remedy or self.code.remedy


def _error(code: str, title: str, remedy: str) -> Code:
    return Code(id=code, severity=Severity.ERROR, title=title, remedy=remedy)


def _warning(code: str, title: str, remedy: str) -> Code:
    return Code(id=code, severity=Severity.WARNING, title=title, remedy=remedy)


# 01xx: reading. 02xx: the meaning of one object. 03xx: references between objects.
# 04xx: conflicts. 05xx: delivery. 06xx: the mesh as a whole.
NOT_YAML: Final = _error(
    "MZ0101",
    "file is not YAML",
    "Correct the syntax at the line named; the last good version stays.",
)
NOT_AN_OBJECT: Final = _error(
    "MZ0102",
    "document is not a Kubernetes object",
    "Give it apiVersion, kind and metadata.name, or move the file out of the folder.",
)
INVALID_FIELD: Final = _error(
    "MZ0103", "field has a value that is not allowed", "Change the field as the message says."
)
MISSING_FIELD: Final = _error("MZ0104", "required field is missing", "Add the field.")
UNKNOWN_FIELD: Final = _warning(
    "MZ0105", "field is not known", "Correct its spelling, or remove it: it has no effect."
)
UNKNOWN_KIND: Final = _warning(
    "MZ0106", "kind is not handled", "Remove it from the folder, or ignore this: it has no effect."
)
DUPLICATE_OBJECT: Final = _error(
    "MZ0107", "object stands in the folder twice", "Keep one of the two; the first one is in force."
)
UNSERVED_VERSION: Final = _error(
    "MZ0108", "apiVersion is not served for this kind", "Use the version that the message names."
)
DUPLICATE_KEY: Final = _error(
    "MZ0109", "key stands twice in one mapping", "Keep one of the two, or join what they hold."
)
NOT_TRANSLATED: Final = _warning(
    "MZ0201",
    "field is not translated yet",
    "Remove it, or wait for a version that translates it: it has no effect now.",
)
NO_EFFECT: Final = _warning(
    "MZ0203", "field has no effect as it is written", "Write what the message says is missing."
)
DEPRECATED: Final = _warning(
    "MZ0204",
    "field is deprecated",
    "Write what the message names: the old form goes on working for now.",
)
WIDER: Final = _warning(
    "MZ0205",
    "it holds for more than it seems to",
    "Name what it should hold for, if less is meant.",
)
COSTLY: Final = _warning(
    "MZ0206",
    "it is dear as it is written",
    "Write less, or let a service do it: every proxy that is concerned has a copy.",
)
SERVER_FIRST: Final = _warning(
    "MZ0207",
    "undeclared port may be one whose server speaks first",
    "Declare the protocol, by appProtocol or by the port's name (tcp-...): nobody waits then.",
)
INVALID_COMBINATION: Final = _error(
    "MZ0202", "fields do not go together", "Keep one of the fields that the message names."
)
UNKNOWN_HOST: Final = _error(
    "MZ0301",
    "destination host is not known",
    "Correct the host, or create the Service or ServiceEntry: requests there get 503 meanwhile.",
)
UNKNOWN_SUBSET: Final = _error(
    "MZ0302",
    "subset is not defined",
    "Define the subset in a DestinationRule of the host, or correct its name.",
)
UNKNOWN_PORT: Final = _error(
    "MZ0303", "destination port is not one of the service's", "Use a port that the service has."
)
UNKNOWN_GATEWAY: Final = _error(
    "MZ0304", "gateway does not exist", "Correct the name (namespace/name), or create the Gateway."
)
AMBIGUOUS_PORT: Final = _error(
    "MZ0305",
    "destination has several ports and none is chosen",
    "Write destination.port.number.",
)
RULE_WITHOUT_HOST: Final = _warning(
    "MZ0306",
    "DestinationRule is for a host that is not known",
    "Correct spec.host, or create the Service or ServiceEntry.",
)
EMPTY_SUBSET: Final = _warning(
    "MZ0307",
    "subset selects no endpoint",
    "Correct the subset's labels, or start workloads that have them.",
)
SELECTS_NOTHING: Final = _warning(
    "MZ0308", "selector matches no workload", "Correct the labels of the selector."
)
SERVED_BY_NO_ROUTE: Final = _warning(
    "MZ0309",
    "hosts of the VirtualService are not served by its gateway",
    "Make the hosts of the Gateway's servers and of the VirtualService meet.",
)
UNKNOWN_DELEGATE: Final = _error(
    "MZ0310",
    "delegate is not there",
    "Correct the delegate's name and namespace, create it without hosts, or export it.",
)
UNUSED_DELEGATE: Final = _warning(
    "MZ0311",
    "nobody delegates to a VirtualService without hosts",
    "Add the hosts that it is for, or delegate to it from another VirtualService.",
)
RULES_WITHOUT_PORT: Final = _warning(
    "MZ0312",
    "no port speaks what the rules are for",
    "Declare the port's protocol as the message says, or move the rules to http, tls or tcp.",
)
EMPTY_IMPORT: Final = _warning(
    "MZ0313",
    "Sidecar imports a host that is not known",
    "Correct the host or its namespace, or create the Service or ServiceEntry.",
)
UNKNOWN_PROVIDER: Final = _error(
    "MZ0340",
    "provider of a CUSTOM policy cannot be asked",
    "Correct the name, or the provider's service and port in the mesh's extensionProviders.",
)
UNKNOWN_CREDENTIAL: Final = _error(
    "MZ0320",
    "credential is not there",
    "Create the Secret, with tls.crt and tls.key, in the namespace of the proxy that uses it.",
)
SILENT_ISSUER: Final = _error(
    "MZ0342",
    "issuer does not say where its keys are",
    "Write jwksUri or jwks, or let the control plane reach the issuer's discovery document.",
)
UNKNOWN_TARGET: Final = _error(
    "MZ0341",
    "policy is attached to what nobody enforces it for",
    "Correct the target's kind and name, or use a selector: the policy is not in force.",
)
NEVER_HOLDS: Final = _warning(
    "MZ0314",
    "alternative of a rule can never hold",
    "Correct the field, or remove the alternative: no request and no connection is like that.",
)
NOBODY_PROVES: Final = _warning(
    "MZ0315",
    "rule asks for what nobody proves",
    "Add a RequestAuthentication for the workloads, or ask for something else.",
)
HOST_CONFLICT: Final = _warning(
    "MZ0401",
    "another VirtualService routes the same host",
    "Merge the two: for a mesh host only one VirtualService is in force.",
)
UNREACHABLE_RULE: Final = _warning(
    "MZ0402",
    "rule can never be reached",
    "Move it before the rule that takes its requests, or remove it.",
)
DUPLICATE_SUBSET: Final = _warning(
    "MZ0403",
    "subset is defined by several DestinationRules",
    "Keep one definition: the oldest one is in force.",
)
SHADOWED_POLICY: Final = _warning(
    "MZ0404",
    "another PeerAuthentication holds for the same workloads",
    "Keep one of the two: the oldest one is in force.",
)
SHADOWED_SERVICE: Final = _warning(
    "MZ0405",
    "another object gives the same host",
    "Keep one of the two, or change the host: one of them is not in force.",
)
LOST_ON_TCP: Final = _warning(
    "MZ0406",
    "rule asks for a property of requests on a TCP port",
    "Use only sources and ports there: an ALLOW rule is not in force on TCP, a DENY rule is wider.",
)
SHADOWED_ADDRESS: Final = _warning(
    "MZ0407",
    "another service has the same address and port",
    "Give the service an address or a port of its own: connections there go to the oldest.",
)
OUTSIDE_OF_ROOT: Final = _warning(
    "MZ0408",
    "delegate's rule is not within the rule that delegates",
    "Narrow the delegate's match to what the root's match takes, or widen that.",
)
CONTENDED_PORT: Final = _warning(
    "MZ0409",
    "servers of different kinds contend for a gateway's port",
    "Give one of the servers another port: HTTP, TLS and TCP do not share one, nor do two of TCP.",
)
SHADOWED_SIDECAR: Final = _warning(
    "MZ0410",
    "another Sidecar holds for the same workloads",
    "Keep one of the two: the oldest one is in force, as a whole.",
)
SHADOWED_SERVER: Final = _warning(
    "MZ0420",
    "another server of the gateway's port has the same host",
    "Keep one of the two: on one port each server name is of one server, the oldest.",
)
SHADOWED_ROUTE: Final = _warning(
    "MZ0411",
    "another VirtualService takes the requests of a gateway's host before it",
    "Merge the two, or narrow the older one: on gateways the older one's rules come first.",
)
ALLOWS_ALL: Final = _warning(
    "MZ0412",
    "another AuthorizationPolicy allows everything",
    "Narrow the policy that allows everything, or remove the others.",
)
REFUSED_TLS: Final = _warning(
    "MZ0413",
    "clients' TLS is not what the workloads take",
    "Leave tls out (clients then do what each workload takes), or change the PeerAuthentication.",
)
REJECTED: Final = _error(
    "MZ0501",
    "Envoy rejected what was made from the object",
    "Change the field that Envoy's message names; the last accepted version stays in force.",
)
NO_SIDECAR: Final = _warning(
    "MZ0601",
    "pod should have a sidecar and has none",
    "Make the pod anew (kubectl rollout restart): sidecars come in when pods are made.",
)
SILENT_REPLICA: Final = _warning(
    "MZ0602",
    "replica of the control plane does not answer the others",
    "Look at its log, and let the replicas reach one another's port 15016.",
)
CERTIFICATE_ENDS: Final = _warning(
    "MZ0603",
    "certificate of the authority ends soon",
    "Renew the authority that was plugged in; if it is Mizzen's own, look at the operator's log.",
)
CATALOGUE: Final = (
    NOT_YAML,
    NOT_AN_OBJECT,
    INVALID_FIELD,
    MISSING_FIELD,
    UNKNOWN_FIELD,
    UNKNOWN_KIND,
    DUPLICATE_OBJECT,
    UNSERVED_VERSION,
    DUPLICATE_KEY,
    NOT_TRANSLATED,
    INVALID_COMBINATION,
    NO_EFFECT,
    DEPRECATED,
    WIDER,
    COSTLY,
    SERVER_FIRST,
    UNKNOWN_HOST,
    UNKNOWN_SUBSET,
    UNKNOWN_PORT,
    UNKNOWN_GATEWAY,
    AMBIGUOUS_PORT,
    RULE_WITHOUT_HOST,
    EMPTY_SUBSET,
    SELECTS_NOTHING,
    SERVED_BY_NO_ROUTE,
    UNKNOWN_DELEGATE,
    UNUSED_DELEGATE,
    RULES_WITHOUT_PORT,
    EMPTY_IMPORT,
    UNKNOWN_CREDENTIAL,
    UNKNOWN_PROVIDER,
    UNKNOWN_TARGET,
    NEVER_HOLDS,
    NOBODY_PROVES,
    SILENT_ISSUER,
    HOST_CONFLICT,
    UNREACHABLE_RULE,
    DUPLICATE_SUBSET,
    SHADOWED_POLICY,
    SHADOWED_SERVICE,
    LOST_ON_TCP,
    SHADOWED_ADDRESS,
    OUTSIDE_OF_ROOT,
    CONTENDED_PORT,
    SHADOWED_SIDECAR,
    SHADOWED_SERVER,
    SHADOWED_ROUTE,
    ALLOWS_ALL,
    REFUSED_TLS,
    REJECTED,
    NO_SIDECAR,
    SILENT_REPLICA,
    CERTIFICATE_ENDS,
)
