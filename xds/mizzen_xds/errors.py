"""What can go wrong on a stream, as exceptions.

XdsError
├── RefusedError             the stream is closed; the text says why
│   ├── UnauthenticatedError no valid token or certificate
│   └── ForbiddenError       the node claims what its identity does not cover
└── ListenError              the server cannot listen where it was told to
"""

from __future__ import annotations


class XdsError(Exception):
    """Any error of this plane."""


class RefusedError(XdsError):
    """A stream that must be closed; the message is meant for its client."""


class UnauthenticatedError(RefusedError):
    """The client did not prove who it is."""


class ForbiddenError(RefusedError):
    """The client proved who it is, and is not what it says it is."""


class ListenError(XdsError):
    """An address that cannot or must not be listened on."""
