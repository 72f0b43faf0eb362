"""What a proxy says of its refusals, made fit for people.

Where a message breaks a rule of Envoy's API, the error begins with the whole message in protobuf's
debugging form, hundreds of lines with a heading that differs in every process. That would bury the reason,
tell equal refusals apart, and show whatever the message holds, private keys too.
"""

from __future__ import annotations

import re
from typing import Final

# The dump ends where a line begins with a colon: within it line feeds are written as "\\n".
_DUMP: Final = re.compile(r"goo\.gle/debug\w*\s.*?\n: ", re.DOTALL)
_UNFINISHED: Final = re.compile(r"goo\.gle/debug\w*\s.*", re.DOTALL)


def readable(text: str) -> str:
    """Return an error without the messages that are dumped in it; one cut within a dump ends there."""
    return _UNFINISHED.sub("…", _DUMP.sub("", text)).strip()
