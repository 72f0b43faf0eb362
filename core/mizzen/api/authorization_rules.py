"""The rules of an AuthorizationPolicy (Istio: Rule, Source, Operation, Condition)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from mizzen.api.base import ApiModel
from mizzen.api.findings import Finding, Path, at, conflict, invalid, missing
from mizzen.api.hosts import is_block, is_label
from mizzen.api.shape import nearest
from mizzen.model import security

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_Account = Annotated[str, Field(max_length=320)]

_HIGHEST_PORT: Final = 65_535
_KEYS: Final = (
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "source.trustDomain",
)
_KEYS_WITH_NAME: Final = re.compile(
    r"request\.headers\[[^\]]+\]|request\.auth\.claims(\[[^\]]+\])+"
)
_FILTER_KEY: Final = re.compile(r"experimental\.envoy\.filters\..+\[.+\]")
# What CUSTOM cannot ask for: it is asked before tokens are looked at (Istio).
_BY_IDENTITY: Final = (
    "principals",
    "not_principals",
    "request_principals",
    "not_request_principals",
    "namespaces",
    "not_namespaces",
    "service_accounts",
    "not_service_accounts",
)
_KEYS_BY_IDENTITY: Final = ("source.namespace", "source.principal", "source.serviceAccount")
_NOT_CUSTOM: Final = "does not go with action CUSTOM"
_TEMPLATE: Final = re.compile(r"\{\*\*?\}")
# What may stand between the slashes of a path with templates (RFC 3986, pchar).
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~%!$&'()+,;:@=-]+")
_MAX_TEMPLATE_LENGTH: Final = 256  # UriTemplateMatchConfig.path_template


class Source(ApiModel):
    """Where a request comes from: fields are ANDed, values ORed (Istio: Source)."""

    principals: list[str] = Field(default_factory=list, description="td/ns/NS/sa/SA, by mTLS.")
    not_principals: list[str] = Field(default_factory=list, description="Must not match.")
    request_principals: list[str] = Field(default_factory=list, description="iss/sub, by JWT.")
    not_request_principals: list[str] = Field(default_factory=list, description="Must not match.")
    namespaces: list[str] = Field(default_factory=list, description="Namespaces, by mTLS.")
    not_namespaces: list[str] = Field(default_factory=list, description="Must not match.")
    service_accounts: list[_Account] = Field(
        default_factory=list, max_length=16, description="SA or NS/SA, by mTLS."
    )
    not_service_accounts: list[_Account] = Field(
        default_factory=list, max_length=16, description="Must not match."
    )
    trust_domains: list[str] = Field(default_factory=list, description="Trust domains, by mTLS.")
    not_trust_domains: list[str] = Field(default_factory=list, description="Must not match.")
    ip_blocks: list[str] = Field(default_factory=list, description="Of the connection's peer.")
    not_ip_blocks: list[str] = Field(default_factory=list, description="Must not match.")
    remote_ip_blocks: list[str] = Field(
        default_factory=list, description="Of the client, by X-Forwarded-For or PROXY protocol."
    )
    not_remote_ip_blocks: list[str] = Field(default_factory=list, description="Must not match.")


class Operation(ApiModel):
    """What a request asks for: fields are ANDed, values ORed (Istio: Operation)."""

    hosts: list[str] = Field(default_factory=list, description="Hosts, with the port if sent.")
    not_hosts: list[str] = Field(default_factory=list, description="Must not match.")
    ports: list[str] = Field(default_factory=list, description="Ports of the workload.")
    not_ports: list[str] = Field(default_factory=list, description="Must not match.")
    methods: list[str] = Field(default_factory=list, description="Methods.")
    not_methods: list[str] = Field(default_factory=list, description="Must not match.")
    paths: list[str] = Field(default_factory=list, description="Paths, without the query.")
    not_paths: list[str] = Field(default_factory=list, description="Must not match.")


class From(ApiModel):
    """A source (Istio: Rule.From)."""

    source: Source | None = Field(default=None, description="The source.")


class To(ApiModel):
    """An operation (Istio: Rule.To)."""

    operation: Operation | None = Field(default=None, description="The operation.")


class Condition(ApiModel):
    """A further condition (Istio: Condition)."""

    key: str = Field(min_length=1, description="An attribute, such as request.headers[x-user].")
    values: list[str] = Field(default_factory=list, description="One of them must match.")
    not_values: list[str] = Field(default_factory=list, description="None of them may match.")


class Rule(ApiModel):
    """Any source, any operation and all conditions (Istio: Rule)."""

    from_: list[From] | None = Field(
        default=None, alias="from", max_length=512, description="Sources; any by default."
    )
    to: list[To] | None = Field(default=None, description="Operations; any by default.")
    when: list[Condition] = Field(default_factory=list, description="Conditions.")


def check_rule(rule: Rule) -> Iterator[Finding]:
    """Check a rule."""
    if rule.from_ == []:
        yield missing(("from",), "from must not be empty", "Remove it to mean any source.")
    if rule.to == []:
        yield missing(("to",), "to must not be empty", "Remove it to mean any operation.")
    for index, source in enumerate(rule.from_ or ()):
        yield from at(("from", index, "source"), _check_source(source.source))
    for index, operation in enumerate(rule.to or ()):
        yield from at(("to", index, "operation"), _check_operation(operation.operation))
    for index, condition in enumerate(rule.when):
        yield from at(("when", index), _check_condition(condition))


def _check_source(source: Source | None) -> Iterator[Finding]:
    if source is None or not any(values for _, values in source):
        yield missing((), "source needs at least one field")
        return
    yield from _check_values(source)
    for name, blocks in (
        ("ipBlocks", source.ip_blocks),
        ("notIpBlocks", source.not_ip_blocks),
        ("remoteIpBlocks", source.remote_ip_blocks),
        ("notRemoteIpBlocks", source.not_remote_ip_blocks),
    ):
        yield from _check_blocks((name,), blocks)
    accounts = source.service_accounts or source.not_service_accounts
    others = (source.principals, source.not_principals, source.namespaces, source.not_namespaces)
    if accounts and any(others):
        message = "serviceAccounts and principals or namespaces exclude each other"
        yield conflict(("serviceAccounts",), message)
    for name, several in (
        ("serviceAccounts", source.service_accounts),
        ("notServiceAccounts", source.not_service_accounts),
    ):
        yield from _check_accounts((name,), several)


def _check_accounts(path: Path, accounts: Sequence[str]) -> Iterator[Finding]:
    for index, account in enumerate(accounts):
        if not all(map(_is_dns, account.split("/"))) or account.count("/") > 1:
            yield invalid((*path, index), f"{account!r} is not SA or NS/SA; no wildcards here")


def _is_dns(text: str) -> bool:
    return all(map(is_label, text.split(".")))


def _check_blocks(path: Path, blocks: Sequence[str]) -> Iterator[Finding]:
    for index, block in enumerate(blocks):
        if not is_block(block):
            yield invalid((*path, index), f"{block!r} is not an IP address or CIDR")


def _check_ports(path: Path, ports: Sequence[str]) -> Iterator[Finding]:
    for index, port in enumerate(ports):
        if not (port.isdecimal() and 1 <= int(port) <= _HIGHEST_PORT):
            yield invalid((*path, index), f"{port!r} is not a port's number")


def _check_values(part: Source | Operation) -> Iterator[Finding]:
    for name, info in type(part).model_fields.items():
        values: Sequence[str] = getattr(part, name)
        for index, value in enumerate(values):
            if not value:
                yield invalid((info.alias or name, index), "must not be empty")


def _check_operation(operation: Operation | None) -> Iterator[Finding]:
    if operation is None or not any(values for _, values in operation):
        yield missing((), "operation needs at least one field")
        return
    yield from _check_values(operation)
    for name, ports in (("ports", operation.ports), ("notPorts", operation.not_ports)):
        yield from _check_ports((name,), ports)
    for name, paths in (("paths", operation.paths), ("notPaths", operation.not_paths)):
        for index, path in enumerate(paths):
            yield from _check_path((name, index), path)


def _check_path(where: Path, path: str) -> Iterator[Finding]:
    rest, templates = _TEMPLATE.subn("", path)
    if "{" in rest or "}" in rest:
        yield invalid(where, f"{path!r} has braces other than {{*}} and {{**}}")
    elif templates and "*" in rest:
        yield invalid(where, f"{path!r} mixes * with {{*}} or {{**}}")
    elif not templates and "*" in path[1:-1]:
        yield invalid(
            where, f"{path!r} has a * in the middle", "Use {*} for one segment of a path."
        )
    elif templates:
        yield from _check_template(where, path)


def _check_template(where: Path, path: str) -> Iterator[Finding]:
    """Check what Envoy doesn't survive: it ends itself over a template that it cannot read.

    Istio: ``CheckValidPathTemplate``.
    """
    _, *segments = path.removesuffix("/").split("/")
    strange = [one for one in segments if not (_TEMPLATE.fullmatch(one) or _SEGMENT.fullmatch(one))]
    if not path.startswith("/"):
        yield invalid(where, f"{path!r} does not begin with /")
    elif "" in strange:
        yield invalid(where, f"{path!r} has nothing between two slashes")
    elif strange:
        hint = "Between two slashes stands either {*}, {**} or plain text."
        yield invalid(where, f"{path!r} has {strange[0]!r} between its slashes", hint)
    elif _TEMPLATE.search("/".join(segments).partition("{**}")[2]):
        yield invalid(where, f"{path!r} has {{**}} before another {{*}} or {{**}}")
    elif len(path) > _MAX_TEMPLATE_LENGTH:
        yield invalid(where, f"a path with templates has at most {_MAX_TEMPLATE_LENGTH} characters")


def _check_condition(condition: Condition) -> Iterator[Finding]:
    key = condition.key
    if not (key in _KEYS or _KEYS_WITH_NAME.fullmatch(key) or _FILTER_KEY.fullmatch(key)):
        near = nearest(key, _KEYS)
        hint = f"Did you mean {near}?" if near else "See Istio's list of authorization conditions."
        yield invalid(("key",), f"{key!r} is not an attribute of a request", hint)
    if not condition.values and not condition.not_values:
        yield missing(("values",), "a condition needs values or notValues")
    check = _CHECKS.get(key, _check_filled)
    yield from check(("values",), condition.values)
    yield from check(("notValues",), condition.not_values)


def _check_filled(path: Path, values: Sequence[str]) -> Iterator[Finding]:
    for index, value in enumerate(values):
        if not value:
            yield invalid((*path, index), "must not be empty")


# What the values of an attribute have to be; those of others only have to be there.
_CHECKS: Final = {
    "source.ip": _check_blocks,
    "remote.ip": _check_blocks,
    "destination.ip": _check_blocks,
    "destination.port": _check_ports,
    "source.serviceAccount": _check_accounts,
}


def check_custom(rule: Rule) -> Iterator[Finding]:
    """Check that a rule says nothing that is known only after external authorization was asked."""
    for index, item in enumerate(rule.from_ or ()):
        for name, info in Source.model_fields.items():
            if item.source is not None and name in _BY_IDENTITY and getattr(item.source, name):
                field = info.alias or name
                yield conflict(("from", index, "source", field), f"{field} {_NOT_CUSTOM}")
    for index, condition in enumerate(rule.when):
        key = condition.key
        if key in _KEYS_BY_IDENTITY or key.startswith("request.auth."):
            yield conflict(("when", index, "key"), f"{key} {_NOT_CUSTOM}")


def value_of(rule: Rule) -> security.Rule:
    """Return a rule's value."""
    return security.Rule(
        sources=tuple(_source(item.source) for item in rule.from_ or () if item.source),
        operations=tuple(_operation(item.operation) for item in rule.to or () if item.operation),
        conditions=tuple(
            security.Condition(
                key=condition.key,
                values=tuple(condition.values),
                not_values=tuple(condition.not_values),
            )
            for condition in rule.when
        ),
    )


def _source(source: Source) -> security.Source:
    return security.Source(
        principals=tuple(source.principals),
        not_principals=tuple(source.not_principals),
        request_principals=tuple(source.request_principals),
        not_request_principals=tuple(source.not_request_principals),
        namespaces=tuple(source.namespaces),
        not_namespaces=tuple(source.not_namespaces),
        service_accounts=tuple(source.service_accounts),
        not_service_accounts=tuple(source.not_service_accounts),
        trust_domains=tuple(source.trust_domains),
        not_trust_domains=tuple(source.not_trust_domains),
        ip_blocks=tuple(source.ip_blocks),
        not_ip_blocks=tuple(source.not_ip_blocks),
        remote_ip_blocks=tuple(source.remote_ip_blocks),
        not_remote_ip_blocks=tuple(source.not_remote_ip_blocks),
    )


def _operation(operation: Operation) -> security.Operation:
    return security.Operation(
        hosts=tuple(operation.hosts),
        not_hosts=tuple(operation.not_hosts),
        ports=tuple(operation.ports),
        not_ports=tuple(operation.not_ports),
        methods=tuple(operation.methods),
        not_methods=tuple(operation.not_methods),
        paths=tuple(operation.paths),
        not_paths=tuple(operation.not_paths),
    )
