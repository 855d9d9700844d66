"""Structured logs: one event name and fields, with the request or task id taken from the context."""

import logging
import sys
from typing import Any, cast

import structlog


def configure_logs(level: str, *, as_json: bool) -> None:
    """Send structlog to standard error, as JSON lines or for people."""
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Logger whose lines carry the module they come from."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger(module=name))
