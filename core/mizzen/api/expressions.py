"""Whether a regular expression is one of RE2, which Envoy and Istio use, as far as Python can tell.

RE2 has no look-around, no back-references and nothing else that could need more than linear time.
What passes here and is refused by Envoy all the same comes back as a NACK on the object.
"""

from __future__ import annotations

import re
import warnings
from typing import Final

_LONGEST: Final = 1024
# An escaped character, or a construct that Python's engine has and RE2 has not.
_FOREIGN: Final = re.compile(
    r"\\(?:[1-9]|g<|k<)|(\\.)|\(\?(?:=|!|<=|<!|>|P=|\(|#|[aLu])|[*+?}]\+", re.DOTALL
)
# Of Python's complaints those that RE2 shares; others are about syntax that only RE2 knows.
_SHARED: Final = (
    "unterminated",
    "unbalanced",
    "nothing to repeat",
    "multiple repeat",
    "bad character range",
    "min repeat",
    "bad escape (end",
)


def expression_error(text: str) -> str:
    """Return why an expression is not one of RE2, empty where nothing is found wrong."""
    if not text:
        return "must not be empty"
    if len(text) > _LONGEST:
        return f"must have at most {_LONGEST} characters"
    for found in _FOREIGN.finditer(text):
        if found.group(1) is None:
            return f"is not an RE2 expression: RE2 has no {found.group(0)!r}"
    return _python_error(text)


def _python_error(text: str) -> str:
    with warnings.catch_warnings():
        # [[:alpha:]] is a class in RE2 and something to warn of in Python.
        warnings.simplefilter("ignore")
        try:
            re.compile(text)
        except re.error as error:
            if any(words in str(error) for words in _SHARED):
                return f"is not an RE2 expression: {error}"
    return ""
