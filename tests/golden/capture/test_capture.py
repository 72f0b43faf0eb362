"""The capture rules of a pod, as text that iptables-restore reads."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from mizzen.capture import (
    CaptureConfig,
    Family,
    Interception,
    Mark,
    restore_text,
)
from mizzen_operator.inject.script import capture_script

_HERE: Final = Path(__file__).parent

_CASES: Final = {
    "default": CaptureConfig(),
    "mark": CaptureConfig(proxy=Mark(), exclude_outbound_cidrs=("10.44.0.1/32",)),
    "nothing-inbound": CaptureConfig(include_inbound_ports=()),
    "some-inbound-ports": CaptureConfig(
        include_inbound_ports=(8080, 9080), exclude_inbound_ports=(22,)
    ),
    "excluded": CaptureConfig(
        exclude_inbound_ports=(22,),
        exclude_outbound_ports=(3306,),
        exclude_outbound_cidrs=("169.254.169.254/32", "fd00:ec2::254/128"),
    ),
    "transparent": CaptureConfig(
        interception=Interception.TPROXY, exclude_inbound_ports=(22,), exclude_interfaces=("net1",)
    ),
    "interfaces": CaptureConfig(exclude_interfaces=("net1",), reroute_interfaces=("vm0",)),
    "dns": CaptureConfig(dns=True),
    "included-groups": CaptureConfig(include_owner_groups=("app", "1001")),
    "excluded-groups": CaptureConfig(exclude_owner_groups=("backup", "0")),
    "some-outbound": CaptureConfig(
        include_outbound_cidrs=("10.96.0.0/12", "fd00::/8"), include_outbound_ports=(443,)
    ),
}
_SUFFIX: Final = {Family.V4: "v4", Family.V6: "v6"}


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("case", _CASES)
def test_the_rules_are_those_that_were_reviewed(
    case: str, family: Family, update_golden: bool
) -> None:
    """The same configuration gives the same rules, in the order that decides."""
    file = _HERE / f"{case}.{_SUFFIX[family]}.rules"
    text = restore_text(_CASES[case], family)
    if update_golden:
        file.write_text(text, encoding="ascii")
    assert text == file.read_text(encoding="ascii")


def test_no_golden_is_left_over(update_golden: bool) -> None:
    """Every kept file belongs to a case; an update removes those that do not."""
    wanted = {f"{case}.{suffix}.rules" for case in _CASES for suffix in _SUFFIX.values()}
    leftovers = [file for file in _HERE.glob("*.rules") if file.name not in wanted]
    if update_golden:
        for file in leftovers:
            file.unlink()
        return
    assert leftovers == []


def test_what_is_no_network_is_refused() -> None:
    """A destination that is no CIDR raises before any rule is loaded."""
    with pytest.raises(ValueError, match="nonsense"):
        restore_text(CaptureConfig(exclude_outbound_cidrs=("nonsense",)), Family.V4)


@pytest.mark.parametrize("name", ["eth0'; reboot; '", "net1\n-A OUTPUT -j ACCEPT", "-j", ""])
def test_what_is_no_name_is_refused(name: str) -> None:
    """A name comes from whoever may write a pod; it can neither add a rule nor a command."""
    for config in (
        CaptureConfig(exclude_interfaces=(name,)),
        CaptureConfig(include_owner_groups=(name,)),
    ):
        with pytest.raises(ValueError, match="is not the name"):
            restore_text(config, Family.V4)


@pytest.mark.parametrize("case", ["default", "transparent"])
def test_the_script_is_the_one_that_was_reviewed(case: str, update_golden: bool) -> None:
    """The init container's program holds the rules of both families, and routes where they need them."""
    file = _HERE / f"{case}.sh"
    text = capture_script(_CASES[case])
    if update_golden:
        file.write_text(text, encoding="ascii")
    assert text == file.read_text(encoding="ascii")
