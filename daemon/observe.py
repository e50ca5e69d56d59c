"""Logs: one line an event, to stderr, with ids, counts and milliseconds; no pixels, questions, answers, secrets."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog


def set_up_logging(*, level: str = "info", form: Literal["console", "json"] = "console", process: str = "") -> None:
    """
    Configure structlog and the standard library's loggers for this process.

    Args:
        level: "debug", "info", "warning" or "error".
        form: one readable line, or one JSON object a line.
        process: bound to every line ("worker w0", "gateway").
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if form == "json":
        last: list[structlog.typing.Processor] = [
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        stream=sys.stderr, level=max(threshold, logging.WARNING), format="%(levelname)s %(name)s %(message)s"
    )
    structlog.contextvars.clear_contextvars()
    if process:
        structlog.contextvars.bind_contextvars(process=process)
