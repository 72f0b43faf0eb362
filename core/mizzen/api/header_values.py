"""Values that headers are set to: plain text, and Envoy's format of what is known of the request."""

from __future__ import annotations

import re
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Text, %% for a percent sign, %NAME%, or %NAME(arguments)%, where a backslash keeps what follows it.
_FORMAT: Final = re.compile(r"(?:[^%]|%[^%(]*%|%[^%(]*\((?:\\.|[^\\)])*\) *%)*", re.DOTALL)


def header_value_error(text: str) -> str:
    """Return why a text cannot be a header's value, empty where it can (Istio: ValidateHTTPHeaderValue)."""
    if _CONTROL.search(text):
        return "has a control character"
    if not _FORMAT.fullmatch(text):
        return "has a % that belongs to no %NAME%; a percent sign is written %%"
    return ""
