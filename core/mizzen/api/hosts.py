"""Rules for names and addresses that several kinds share (Istio: pkg/config/validation)."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

from mizzen.api.findings import Finding, Path, conflict, duplicates, invalid, wider

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LABEL: Final = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_FIRST_OF_WILDCARD: Final = re.compile(
    r"\*|(?:\*|\*-)?[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
)
_LABEL_VALUE: Final = re.compile(r"(?:[a-zA-Z0-9](?:[-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)?")
_LABEL_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_LONGEST_NAME: Final = 255
_LONGEST_PREFIX: Final = 253

_PUBLIC, _PRIVATE, _NOBODY = "*", ".", "~"


def is_label(text: str) -> bool:
    """Tell whether a text is one DNS label (RFC 1123)."""
    return _LABEL.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Tell whether a text is a DNS name without wildcard; one trailing dot is allowed."""
    labels = text.removesuffix(".").split(".")
    return len(text) <= _LONGEST_NAME and all(map(is_label, labels)) and not _numeric_end(labels)


def is_wildcard_name(text: str) -> bool:
    """Tell whether a text is a DNS name or one whose first label is or begins with ``*``."""
    first, _, rest = text.partition(".")
    if len(text) > _LONGEST_NAME or not _FIRST_OF_WILDCARD.fullmatch(first):
        return False
    return not rest or (is_name(rest) and not rest.isdigit())


def _numeric_end(labels: Sequence[str]) -> bool:
    return len(labels) > 1 and labels[-1].isdigit()


def is_address(text: str) -> bool:
    """Tell whether a text is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_block(text: str) -> bool:
    """Tell whether a text is an address or a CIDR; bits behind the prefix do not matter."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def block(text: str) -> str:
    """Return an address or CIDR as a CIDR without bits behind its prefix."""
    return str(ip_network(text, strict=False))


def check_wildcard_host(path: Path, host: str) -> Iterator[Finding]:
    """Check a host that may be a wildcard or an address."""
    if not (is_wildcard_name(host) or is_address(host)):
        yield invalid(
            path, f"{host!r} is not a DNS name, a wildcard such as *.example.com or an IP"
        )


def check_domain(path: Path, host: str) -> Iterator[Finding]:
    """Check a host that may be a wildcard, and no address."""
    if not is_wildcard_name(host):
        yield invalid(path, f"{host!r} is not a DNS name or a wildcard such as *.example.com")


def is_partial_wildcard(host: str) -> bool:
    """Tell whether a host is a wildcard for a part of a label, such as ``*-a.example.com``."""
    return host.startswith("*") and host != "*" and not host.startswith("*.")


def check_export_to(
    path: Path, targets: Sequence[str], own: str = "", *, hidden: bool = False
) -> Iterator[Finding]:
    """Check ``exportTo``: namespaces, ``.`` and ``*``, which stands alone.

    ``own`` is the object's own namespace, which ``.`` means too. Services alone may be ``hidden`` from
    everybody by ``~`` (Istio: ``visibility.Instance``).
    """
    meant = [(own or _PRIVATE) if target == _PRIVATE else target for target in targets]
    yield from duplicates(path, meant, "namespace")
    words = (_PUBLIC, _PRIVATE, _NOBODY) if hidden else (_PUBLIC, _PRIVATE)
    for index, target in enumerate(targets):
        if target not in words and not is_label(target):
            known = ", ".join(map(repr, words))
            yield invalid((*path, index), f"{target!r} is not a namespace or one of {known}")
    for alone in (_PUBLIC, _NOBODY):
        if alone in targets and len(set(targets)) > 1:
            yield conflict(path, f"{alone!r} says it all and cannot stand beside other namespaces")


def check_labels(path: Path, labels: Mapping[str, str]) -> Iterator[Finding]:
    """Check that labels could be a pod's: selectors compare whole values, so wildcards never match."""
    for key, value in labels.items():
        if not key:
            yield invalid(path, "a label's key cannot be empty")
        elif "*" in key or "*" in value:
            yield invalid((*path, key), "labels are compared literally; a wildcard never matches")
        elif not _is_label_key(key):
            yield invalid((*path, key), f"{key!r} cannot be a label's key")
        elif not _LABEL_VALUE.fullmatch(value):
            yield invalid((*path, key), f"{value!r} cannot be a label's value")


def check_selector(path: Path, labels: Mapping[str, str]) -> Iterator[Finding]:
    """Check the labels of a selector, of which none select everything in its reach."""
    if not labels:
        message = "a selector without labels selects every workload in reach"
        yield wider(path, message, "Write the labels, or leave the selector out.")
    yield from check_labels(path, labels)


def _is_label_key(text: str) -> bool:
    """Tell whether a text is a name, or a DNS name, a slash and a name (Kubernetes: qualified names)."""
    prefix, slash, name = text.rpartition("/")
    sound = not slash or (len(prefix) <= _LONGEST_PREFIX and all(map(is_label, prefix.split("."))))
    return sound and _LABEL_NAME.fullmatch(name) is not None
