"""Logs: one line for an event, JSON where a machine reads, colours where a person does.

An event is a constant phrase; what varies stands in key/values.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from typing import TextIO

    from structlog.typing import FilteringBoundLogger, Processor

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


def make_logger(stream: TextIO = sys.stderr, *, level: str = "info") -> FilteringBoundLogger:
    """Return a logger that writes to a stream."""
    readable = stream.isatty()
    stamp = structlog.processors.TimeStamper(
        fmt="%H:%M:%S.%f" if readable else "iso", utc=not readable
    )
    last: tuple[Processor, ...] = (
        (structlog.dev.ConsoleRenderer(),)
        if readable
        else (structlog.processors.format_exc_info, structlog.processors.JSONRenderer())
    )
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[structlog.processors.add_log_level, stamp, *last],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        context_class=dict,
    )
    return logger
