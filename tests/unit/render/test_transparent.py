"""virtualInbound for connections that are handed over as they are (TPROXY)."""

from __future__ import annotations

from typing import Final

from mizzen import ir
from mizzen.capture import TPROXY_MARK
from mizzen.model.security import MtlsMode
from mizzen.render.inbound import render_inbound
from tests.support.show import show

_POLICY: Final = ir.InboundPolicy(
    ports=(),
    default_mode=MtlsMode.STRICT,
    port_modes=(),
    trust_domains=("cluster.local",),
    authorization=ir.OPEN,
)


def test_a_transparent_listener_calls_in_its_callers_name() -> None:
    """Its socket takes any address, and what it sends to the application is marked for capture."""
    shown = show(render_inbound(_POLICY, transparent=True))
    assert shown["transparent"] is True
    filters = {one["name"]: one["typed_config"] for one in shown["listener_filters"]}
    assert filters["envoy.filters.listener.original_src"]["mark"] == TPROXY_MARK


def test_a_redirected_one_does_not() -> None:
    """Without TPROXY the application is called from 127.0.0.6."""
    shown = show(render_inbound(_POLICY))
    assert "transparent" not in shown
    names = [one["name"] for one in shown["listener_filters"]]
    assert "envoy.filters.listener.original_src" not in names
