"""What an API server itself refuses of a manifest, beside the schemas' types and bounds (cel.dev).

They are the simple ones of the checks that ``mizzen.api`` makes: what needs neither another object nor
a parser. So they hold while no operator runs. None of them refuses what the checks take and Istio's own
schemas take too; a test holds an example against each. Only what Kubernetes 1.25 knows of CEL is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.api import authorization_policy as policy
from mizzen.api import authorization_rules as access
from mizzen.api import (
    destination_rule,
    gateway,
    http_action,
    http_match,
    load_balancing,
    peer_authentication,
    targets,
    traffic_policy,
    virtual_service,
    workloads,
)
from mizzen.api.base import ApiModel, WorkloadSelector
from mizzen.api.crd_forms import (
    Rule,
    Words,
    any_of,
    choice,
    count,
    each,
    each_item,
    exactly_one,
    filled,
    has,
    having,
    needs,
    not_both,
    one_at_most,
    pattern,
    some_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROTOCOLS: Final = "HTTP|HTTP2|GRPC|GRPC-WEB|HTTPS|TLS|TCP|MONGO|REDIS|MYSQL|UDP"
_LABEL_KEYS: Final = Rule(
    "self.all(key, size(key) > 0 && !key.contains('*'))", "a label's key is not empty and has no *"
)
_LABEL_VALUES: Final = each("^([a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)?$")
_EXPORT_TO: Final = Rule(
    "size(self) < 2 || !('*' in self || '~' in self)", "* and ~ say it all and stand alone"
)
# More than fit into an object that kubectl applies; without a limit the rules of HTTP were too dear.
_BOUNDED: Final = Words({"maxItems": 8192})
# Not so of a WorkloadGroup's template, to which each workload adds its own.
_ADDRESSED: Final = Rule(f"{filled('address')} || {filled('network')}", "address is required")
_PORT: Final = (
    "0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)
_PORT_KEYS: Final = Rule(
    "self.all(key, key.matches('^0*[0-9]{1,5}$') && int(key) >= 1 && int(key) <= 65535)",
    "a port is a number from 1 to 65535",
)
_ENCRYPTED: Final = " || ".join(
    f"self.port.protocol == '{word}'" for word in ("HTTPS", "https", "TLS", "tls")
)

_VIRTUAL_SERVICE: Final[Mapping[type[ApiModel], tuple[Rule | Words, ...]]] = {
    virtual_service.VirtualServiceSpec: (
        Rule(
            " || ".join(f"({filled(rules)})" for rules in ("http", "tls", "tcp")),
            "a VirtualService needs rules in http, tls or tcp",
        ),
        Rule(
            f"({filled('hosts')}) || ({filled('http')})",
            "a VirtualService needs at least one host",
        ),
        Rule(
            "!has(self.hosts) || !('*' in self.hosts) || has(self.gateways)"
            " && size(self.gateways) > 0 && !('mesh' in self.gateways)",
            "host * is for gateways only, and mesh is among the gateways",
            "hosts",
        ),
    ),
    virtual_service.HttpRule: (
        Rule(
            any_of("route", "redirect", "directResponse", "delegate"),
            "a rule needs one of route, redirect, directResponse and delegate",
        ),
        one_at_most("redirect", "directResponse", "delegate"),
        Rule(
            f"!({filled('route')}) || !({any_of('redirect', 'directResponse', 'delegate')})",
            "route goes without redirect, directResponse and delegate",
            "route",
        ),
        Rule(
            f"{filled('route')} || has(self.delegate) || !({any_of('fault', 'rewrite')})",
            "fault and rewrite go with route or delegate only",
        ),
        Rule(
            f"!(has(self.mirror) && {filled('mirrors')})",
            "mirror and mirrors exclude each other",
            "mirrors",
        ),
    ),
    virtual_service.TcpRule: (Rule(filled("route"), "route is required"),),
    virtual_service.TlsRule: (Rule(filled("route"), "route is required"),),
    http_match.StringMatch: (
        not_both("exact", "prefix"),
        not_both("exact", "regex"),
        not_both("prefix", "regex"),
    ),
    http_action.HttpRedirect: (
        some_of("a redirect", "uri", "authority", "scheme", "port", "derivePort", "prefixRewrite"),
        one_at_most("port", "derivePort"),
    ),
    http_action.HttpBody: (one_at_most("string", "bytes"),),
    http_action.HttpRewrite: (
        some_of("a rewrite", "uri", "uriRegexRewrite", "authority"),
        Rule(
            f"!({filled('uri')} && has(self.uriRegexRewrite))",
            "uri and uriRegexRewrite exclude each other",
            "uriRegexRewrite",
        ),
    ),
    http_action.HttpRetry: (
        Rule(
            "has(self.attempts) && self.attempts != 0 || !(has(self.perTryTimeout)"
            f" || has(self.retryRemoteLocalities) || {filled('retryOn')})",
            "attempts 0, the default, switches retries off: nothing else of retries goes with it",
        ),
    ),
    http_action.FaultInjection: (some_of("a fault", "delay", "abort"),),
    http_action.FaultAbort: (one_at_most("httpStatus", "grpcStatus", "http2Error"),),
}

_DESTINATION_RULE: Final[Mapping[type[ApiModel], tuple[Rule | Words, ...]]] = {
    traffic_policy.TrafficPolicy: (Words({"minProperties": 1}),),
    load_balancing.LoadBalancerSettings: (
        not_both("simple", "consistentHash"),
        not_both("localityLbSetting", "zoneAwareLbSetting"),
    ),
    load_balancing.ConsistentHashLb: (
        exactly_one("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"),
        not_both("ringHash", "maglev"),
    ),
    traffic_policy.ConnectionPoolSettings: (needs("tcp", "http"),),
    traffic_policy.HttpSettings: (
        Words({"not": having({"useClientProtocol": True, "h2UpgradePolicy": "UPGRADE"})}),
    ),
    traffic_policy.OutlierDetection: (
        Words(
            {
                "anyOf": [
                    {"not": has("consecutiveLocalOriginFailures")},
                    having({"consecutiveLocalOriginFailures": 0}),
                    having({"splitExternalLocalOriginErrors": True}),
                ]
            }
        ),
    ),
    traffic_policy.ClientTlsSettings: (
        Words(
            {
                "anyOf": [
                    {"not": having({"mode": "MUTUAL"})},
                    has("credentialName"),
                    {"required": ["clientCertificate", "privateKey"]},
                ]
            }
        ),
    ),
}

_OTHERS: Final[Mapping[type[ApiModel], tuple[Rule | Words, ...]]] = {
    gateway.GatewaySpec: (Rule(filled("servers"), "a Gateway needs at least one server"),),
    gateway.ServerSpec: (
        Rule(
            f"!({_ENCRYPTED}) || has(self.tls)",
            "a server of protocol HTTPS or TLS needs tls",
        ),
        Rule(
            "!has(self.tls) || !has(self.tls.mode)"
            " || !(self.port.protocol == 'HTTP' || self.port.protocol == 'HTTP2')",
            "a server of protocol HTTP has no tls.mode",
            "tls",
        ),
    ),
    workloads.WorkloadEntrySpec: (
        Rule(
            "!has(self.address) || !self.address.startsWith('unix://')"
            " || self.address.startsWith('unix:///')",
            "a unix:// address is an absolute path",
            "address",
        ),
        Rule(
            f"!has(self.address) || !self.address.startsWith('unix://') || !({filled('ports')})",
            "a unix:// address has no ports",
            "ports",
        ),
    ),
    workloads.ServiceEntrySpec: (
        Rule(filled("ports"), "a ServiceEntry needs at least one port"),
        Rule(
            f"!({filled('endpoints')} && has(self.workloadSelector))",
            "endpoints and workloadSelector exclude each other",
            "endpoints",
        ),
        Rule(
            "has(self.resolution) && !(self.resolution in ['NONE', 'DYNAMIC_DNS'])"
            f" || !({filled('endpoints')})",
            "resolutions NONE, the default, and DYNAMIC_DNS go without endpoints",
            "endpoints",
        ),
        Rule(
            "!has(self.resolution) || self.resolution != 'DNS_ROUND_ROBIN'"
            " || !has(self.endpoints) || size(self.endpoints) < 2",
            "resolution DNS_ROUND_ROBIN takes one endpoint",
            "endpoints",
        ),
        Rule(
            "!has(self.resolution) || self.resolution in ['NONE', 'STATIC'] || !has(self.addresses)"
            " || !self.addresses.exists(address, address.contains('/'))",
            "a CIDR goes with resolutions NONE and STATIC only",
            "addresses",
        ),
    ),
    peer_authentication.PeerAuthenticationSpec: (
        Rule(
            f"!({filled('portLevelMtls')}) || has(self.selector)"
            " && has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0",
            "portLevelMtls goes with a selector only",
            "portLevelMtls",
        ),
    ),
    policy.AuthorizationPolicySpec: (
        Rule(
            f"{count('selector', 'targetRef')} + ({filled('targetRefs')} ? 1 : 0) <= 1",
            "selector, targetRef and targetRefs exclude each other",
        ),
        Rule(
            "(has(self.action) && self.action == 'CUSTOM') == has(self.provider)",
            "a provider goes with action CUSTOM, and CUSTOM with a provider",
        ),
        Rule(
            f"!has(self.action) || self.action != 'DENY' || {filled('rules')}",
            "a DENY policy without rules denies nothing; - {} denies everything",
        ),
    ),
    access.Rule: (
        Rule("!has(self.from) || size(self.from) > 0", "from is not empty", "from"),
        Rule("!has(self.to) || size(self.to) > 0", "to is not empty", "to"),
    ),
    access.Source: (
        Rule(
            f"!({any_of('serviceAccounts', 'notServiceAccounts')})"
            f" || !({any_of('principals', 'notPrincipals', 'namespaces', 'notNamespaces')})",
            "serviceAccounts go without principals and namespaces",
        ),
    ),
    access.Condition: (
        Rule(
            f"{filled('values')} || {filled('notValues')}",
            "a condition needs values or notValues",
        ),
    ),
}

RULES: Final[Mapping[type[ApiModel], tuple[Rule | Words, ...]]] = {
    **_VIRTUAL_SERVICE,
    **_DESTINATION_RULE,
    **_OTHERS,
}
"""The rules of a model, wherever it stands."""

FIELD_RULES: Final[Mapping[tuple[type[ApiModel], str], tuple[Rule | Words, ...]]] = {
    (virtual_service.VirtualServiceSpec, "exportTo"): (_EXPORT_TO,),
    (virtual_service.VirtualServiceSpec, "http"): (_BOUNDED,),
    (http_action.Destination, "host"): (pattern(r"^[^*]"),),
    (http_action.HttpRetry, "attempts"): (Words({"minimum": 0}),),
    (http_action.HttpRedirect, "redirectCode"): (choice(0, 301, 302, 303, 307, 308),),
    (http_action.HttpRedirect, "scheme"): (choice("", "http", "https"),),
    (destination_rule.DestinationRuleSpec, "exportTo"): (_EXPORT_TO,),
    (destination_rule.Subset, "name"): (pattern(r"^[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$"),),
    (destination_rule.Subset, "labels"): (_LABEL_VALUES,),
    (gateway.GatewaySpec, "selector"): (_LABEL_KEYS, _LABEL_VALUES),
    (gateway.GatewayPort, "protocol"): (pattern(f"^(?i:{_PROTOCOLS})$"),),
    (workloads.WorkloadEntryManifest, "spec"): (_ADDRESSED,),
    (workloads.ServiceEntrySpec, "endpoints"): (each_item(_ADDRESSED),),
    (workloads.ServiceEntrySpec, "exportTo"): (_EXPORT_TO,),
    (workloads.ServiceEntrySpec, "hosts"): (
        Rule("!('*' in self)", "host * is too wide: name a domain"),
    ),
    (workloads.ServiceEntryPort, "protocol"): (pattern(f"^(?i:|{_PROTOCOLS})$"),),
    (workloads.EntrySelector, "labels"): (_LABEL_KEYS, _LABEL_VALUES),
    (WorkloadSelector, "matchLabels"): (_LABEL_KEYS, _LABEL_VALUES),
    (peer_authentication.PeerAuthenticationSpec, "portLevelMtls"): (_PORT_KEYS,),
    (targets.PolicyTargetReference, "namespace"): (
        Rule("size(self) == 0", "a target is of the policy's own namespace"),
    ),
    (access.Operation, "ports"): (each(f"^{_PORT}$"),),
    (access.Operation, "notPorts"): (each(f"^{_PORT}$"),),
}
"""The rules of single fields, by model and name; ``self`` is the field's value."""

MAP_LISTS: Final[Mapping[tuple[type[ApiModel], str], tuple[str, ...]]] = {
    (workloads.ServiceEntrySpec, "ports"): ("name",),
}
"""Lists whose items are merged by these fields under server-side apply, as in Istio's schemas."""
