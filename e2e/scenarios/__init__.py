"""The scenarios in the order in which they run: each a folder with manifests and what must be seen."""

from __future__ import annotations

from typing import Final

# The chart is installed by the first and gone after the last.
ORDER: Final = (
    "installation",
    "start",
    "injection",
    "strict",
    "capture",
    "canary",
    "command",
    "authorization",
    "egress",
    "ingress",
    "rejection",
    "rollout",
    "replicas",
    "absence",
    "outage",
    "upgrade",
    "rotation",
    "uninstall",
)

# They stop the API server, or ask the node.
NEED_OUR_NODE: Final = frozenset({"egress", "outage"})
