"""What a schema cannot say of a VirtualService (Istio: ValidateVirtualService), and what has no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.api.claims import claim_path
from mizzen.api.expressions import expression_error
from mizzen.api.findings import (
    Finding,
    Path,
    at,
    conflict,
    deprecated,
    duplicates,
    invalid,
    missing,
    without_effect,
)
from mizzen.api.hosts import (
    check_export_to,
    check_labels,
    check_wildcard_host,
    is_address,
    is_block,
    is_label,
    is_name,
    is_partial_wildcard,
)
from mizzen.api.http_checks import check_action, check_destination, check_header_name, check_weights
from mizzen.api.http_side_checks import check_side_effects
from mizzen.api.meta import DEFAULT_NAMESPACE
from mizzen.names import MESH_GATEWAY, host_matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mizzen.api.http_match import (
        HttpMatchRequest,
        L4MatchAttributes,
        StringMatch,
        TlsMatchAttributes,
    )
    from mizzen.api.virtual_service import (
        HttpRule,
        TcpRule,
        TlsRule,
        VirtualServiceManifest,
        VirtualServiceSpec,
    )


def check(manifest: VirtualServiceManifest) -> Iterator[Finding]:
    """Yield all that is wrong with a VirtualService whose shape is right."""
    own = manifest.metadata.namespace or DEFAULT_NAMESPACE
    yield from at(("spec",), _spec(manifest.spec))
    yield from check_export_to(("spec", "exportTo"), manifest.spec.export_to, own)


def _spec(spec: VirtualServiceSpec) -> Iterator[Finding]:
    yield from _hosts(spec)
    yield from check_gateways(("gateways",), spec.gateways)
    if not (spec.http or spec.tls or spec.tcp):
        yield missing(("http",), "a VirtualService needs rules in http, tls or tcp")
    # Only a gateway knows a token's claims when it chooses a route.
    in_mesh_alone = bool(spec.hosts) and set(spec.gateways) <= {MESH_GATEWAY}
    for index, rule in enumerate(spec.http):
        yield from at(("http", index), _rule(rule, in_mesh_alone=in_mesh_alone))
    for index, tls in enumerate(spec.tls):
        yield from at(("tls", index), _tls(tls, spec.hosts))
    for index, tcp in enumerate(spec.tcp):
        yield from at(("tcp", index), _tcp(tcp))


def _hosts(spec: VirtualServiceSpec) -> Iterator[Finding]:
    path = ("hosts",)
    if not spec.hosts:
        yield from _delegate(spec)
    yield from _overlaps(path, [host.lower() for host in spec.hosts])
    in_mesh = not spec.gateways or MESH_GATEWAY in spec.gateways
    for index, host in enumerate(spec.hosts):
        yield from check_wildcard_host((*path, index), host)
        if host == "*" and in_mesh:
            message = "host * is allowed on gateways only, and mesh is among the gateways"
            yield conflict(
                (*path, index), message, "Name the gateways, without mesh, or the hosts."
            )


def _overlaps(path: Path, hosts: Sequence[str]) -> Iterator[Finding]:
    """Check that no host stands there twice, nor below a wildcard that stands there too."""
    yield from duplicates(path, hosts, "host")
    for index, host in enumerate(hosts):
        for other in hosts[:index]:
            if other != host and (host_matches(other, host) or host_matches(host, other)):
                remedy = "Keep one, or write two VirtualServices."
                yield invalid((*path, index), f"{host!r} and {other!r} overlap", remedy)
                break


def _delegate(spec: VirtualServiceSpec) -> Iterator[Finding]:
    """Check a VirtualService without hosts, whose rules others may go on with."""
    if not spec.http:
        yield missing(("hosts",), "a VirtualService needs at least one host")
        return
    for field, written in (("gateways", spec.gateways), ("tls", spec.tls), ("tcp", spec.tcp)):
        if written:
            message = f"{field} does not go without hosts, in a delegate of other VirtualServices"
            yield conflict((field,), message, f"Add the hosts that it is for, or remove {field}.")
    for index, rule in enumerate(spec.http):
        if rule.delegate is not None:
            message = "a delegate's rules cannot be delegated once more"
            yield conflict(("http", index, "delegate"), message, "Delegate to its rules directly.")


def check_gateways(path: Path, gateways: Sequence[str]) -> Iterator[Finding]:
    """Check references to gateways: a name, a namespace and a name, or the reserved word mesh."""
    for index, gateway in enumerate(gateways):
        namespace, slash, name = gateway.rpartition("/")
        if not (is_label(name) if slash else is_name(name)) or (slash and not is_label(namespace)):
            yield invalid((*path, index), f"{gateway!r} is not a gateway's name or namespace/name")
        elif "." in name:
            short, _, rest = name.partition(".")
            better = f"{rest.partition('.')[0]}/{short}"
            yield deprecated((*path, index), f"{gateway!r} is an old way to write {better!r}")


def _rule(rule: HttpRule, *, in_mesh_alone: bool) -> Iterator[Finding]:
    for index, match in enumerate(rule.match):
        yield from at(("match", index), _match(match))
        yield from at(("match", index), _claims(match, in_mesh_alone=in_mesh_alone))
    yield from check_action(rule)
    yield from check_side_effects(rule)


def _match(match: HttpMatchRequest) -> Iterator[Finding]:
    for name, single in (
        ("uri", match.uri),
        ("scheme", match.scheme),
        ("method", match.method),
        ("authority", match.authority),
    ):
        if single is not None:
            yield from check_string((name,), single)
    for field, several in (
        ("headers", match.headers),
        ("withoutHeaders", match.without_headers),
        ("queryParams", match.query_params),
    ):
        for name, entry in several.items():
            yield from check_string((field, name), entry)
            if field != "queryParams":
                yield from check_header_name((field, name), name)
    yield from _where(match)


def _where(match: HttpMatchRequest | L4MatchAttributes | TlsMatchAttributes) -> Iterator[Finding]:
    """Check what all matches say of clients and gateways."""
    yield from check_gateways(("gateways",), match.gateways)
    yield from check_labels(("sourceLabels",), match.source_labels)
    if match.source_namespace and not is_label(match.source_namespace):
        yield invalid(("sourceNamespace",), f"{match.source_namespace!r} is not a namespace")


def _claims(match: HttpMatchRequest, *, in_mesh_alone: bool) -> Iterator[Finding]:
    """Check the conditions on a token's claims, which are written as headers."""
    written = (("headers", match.headers), ("withoutHeaders", match.without_headers))
    for field, name in ((field, name) for field, headers in written for name in headers):
        if not name.startswith("@"):
            continue
        if claim_path(name) is None:
            remedy = "Write @request.auth.claims.name, or @request.auth.claims[name][of][more]."
            yield invalid((field, name), f"{name!r} is neither a header nor a claim", remedy)
        elif in_mesh_alone:
            message = "claims are known on gateways only, and none is among the gateways"
            yield invalid((field, name), message, "Name the gateways that the rule is for.")


def check_string(path: Path, match: StringMatch) -> Iterator[Finding]:
    """Check a string's comparison: one way of comparing, and an operand that makes sense."""
    ways = (match.exact, match.prefix, match.regex)
    if sum(way is not None for way in ways) > 1:
        yield conflict(path, "exact, prefix and regex exclude each other")
    # Of paths alone Envoy takes the empty prefix, which is every path's.
    if match.prefix == "" and path != ("uri",):
        remedy = "Leave the match out to match everything."
        yield invalid((*path, "prefix"), "must not be empty", remedy)
    if match.regex is not None and match.regex != "*":
        wrong = expression_error(match.regex)
        if wrong:
            yield invalid((*path, "regex"), f"{match.regex!r} {wrong}")


def _tls(rule: TlsRule, hosts: Sequence[str]) -> Iterator[Finding]:
    for index, match in enumerate(rule.match):
        yield from at(("match", index), _connection(match))
        for place, sni in enumerate(match.sni_hosts):
            yield from _server_name(("match", index, "sniHosts", place), sni, hosts)
    yield from _destinations(rule)


def _server_name(path: Path, sni: str, hosts: Sequence[str]) -> Iterator[Finding]:
    if is_address(sni):
        yield without_effect(path, f"clients that connect to {sni} send no server name")
        return
    yield from check_wildcard_host(path, sni)
    if not any(_within(sni, host) for host in hosts):
        yield invalid(path, f"{sni!r} is not within the hosts of the VirtualService")
    elif is_partial_wildcard(sni):
        message = f"{sni!r} is a wildcard for a part of a label; a proxy compares whole ones"
        yield invalid(path, message)


def _within(sni: str, host: str) -> bool:
    return sni.lower() == host.lower() or (
        host.startswith("*") and sni.lower().endswith(host[1:].lower())
    )


def _tcp(rule: TcpRule) -> Iterator[Finding]:
    for index, match in enumerate(rule.match):
        yield from at(("match", index), _connection(match))
    yield from _destinations(rule)


def _connection(match: L4MatchAttributes | TlsMatchAttributes) -> Iterator[Finding]:
    for index, subnet in enumerate(match.destination_subnets):
        if not is_block(subnet):
            yield invalid(("destinationSubnets", index), f"{subnet!r} is not an address or CIDR")
    yield from _where(match)


def _destinations(rule: TcpRule | TlsRule) -> Iterator[Finding]:
    if not rule.route:
        yield missing(("route",), "route is required")
    for index, share in enumerate(rule.route):
        yield from at(("route", index, "destination"), check_destination(share.destination))
    yield from check_weights(rule.route)
