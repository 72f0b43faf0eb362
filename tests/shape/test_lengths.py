"""Modules stay readable in one sitting; what is longer says why, here."""

from __future__ import annotations

from typing import Final

from tests.support.repository import PLANES, python_files, relative

_MAX_LINES: Final = 400

# Where the rule would make the code worse, the code wins.
_LONGER_FOR_A_REASON: Final = {
    "xds/mizzen_xds/stream.py": "one stream's transitions, which are only right together",
    "xds/mizzen_xds/http2.py": "one connection's state: its receiving and sending halves share windows",
}


def test_a_module_is_at_most_four_hundred_lines() -> None:
    """One idea a module; the exceptions are few and each has its reason."""
    long = {
        relative(path): lines
        for path in python_files(below=(*PLANES, "bench"))
        if (lines := len(path.read_text().splitlines())) > _MAX_LINES
    }
    assert set(long) <= set(_LONGER_FOR_A_REASON), long


def test_an_exception_that_is_no_longer_needed_goes() -> None:
    """The list of long modules holds only modules that are long."""
    lengths = {relative(path): len(path.read_text().splitlines()) for path in python_files()}
    assert [name for name in _LONGER_FOR_A_REASON if lengths.get(name, 0) <= _MAX_LINES] == []
