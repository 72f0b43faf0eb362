"""What people call the types of Envoy's resources."""

from __future__ import annotations

from typing import Final

TYPES: Final = {
    "listeners": ("LISTENER",),
    "clusters": ("CLUSTER",),
    "routes": ("ROUTE", "VIRTUAL_HOST"),
    "endpoints": ("ENDPOINT",),
    "secrets": ("SECRET",),
}
"""The types of resource that each word stands for."""
