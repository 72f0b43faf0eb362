"""The program of the init container: loads the capture rules of a pod, for any POSIX shell.

It needs iptables and iproute2 beside the shell, and nothing that a pod mounts.
"""

from __future__ import annotations

from typing import Final

from mizzen.capture import (
    TPROXY_MARK,
    TPROXY_TABLE,
    CaptureConfig,
    Family,
    restore_text,
)

_SCRIPT: Final = """set -eu
export XTABLES_LOCKFILE=/dev/shm/xtables.lock
load() {{
  for way in "$1" "$1-legacy"; do
    "$way" -t nat -S >/dev/null 2>&1 || continue
    if "$way" -t nat -S ISTIO_OUTPUT >/dev/null 2>&1; then echo "$way: in place"; return 0; fi
    if printf '%s\\n' "$2" | "$way-restore" --noflush; then echo "$way: loaded"; return 0; fi
  done
  echo "$1: the kernel takes no rules" >&2
  return 1
}}
rules_v4='{v4}'
rules_v6='{v6}'
load iptables "$rules_v4"
{routes_v4}v6=none
if [ -e /proc/net/if_inet6 ]; then
  while read -r _ _ _ scope _ name; do
    if [ "$scope" = 00 ]; then v6=global; elif [ "$name" != lo ] && [ $v6 = none ]; then v6=link; fi
  done </proc/net/if_inet6
fi
case $v6 in
  global)
    load ip6tables "$rules_v6"
    ip -6 address replace ::6/128 dev lo
    {routes_v6}:;;
  link) load ip6tables "$rules_v6" || echo "only link-local IPv6 addresses; they are left alone";;
esac
"""


def capture_script(config: CaptureConfig) -> str:
    """Return the program of the init container, for any POSIX shell with iptables and iproute2.

    It may run again in the same pod: what is in place stays. IPv6 rules are loaded wherever the pod has
    such an address, and a pod whose rules cannot be loaded does not start: better none than an open one.
    """
    return _SCRIPT.format(
        v4=restore_text(config, Family.V4).rstrip(),
        v6=restore_text(config, Family.V6).rstrip(),
        routes_v4=_routes(config, "ip -4"),
        routes_v6=_routes(config, "ip -6"),
    )


def _routes(config: CaptureConfig, command: str) -> str:
    """Return the lines that keep what TPROXY has marked in the pod."""
    if not config.transparent:
        return ""
    rule = f"fwmark {TPROXY_MARK} lookup {TPROXY_TABLE}"
    return (
        f"{command} rule del {rule} 2>/dev/null || :\n"
        f"{command} rule add {rule}\n"
        f"{command} route replace local default dev lo table {TPROXY_TABLE}\n"
    )
