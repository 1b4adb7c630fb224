"""Structured logs to standard error. Patient names and IDs are never logged at INFO or above: UIDs identify."""

from __future__ import annotations

import logging
import sys

import structlog

from ctiqa_node.config import LoggingSection


def configure_logging(section: LoggingSection) -> None:
    """Send structlog's and the libraries' records to standard error, as console lines or JSON."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderer(section)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(section.level.upper())
    for library in ("apscheduler", "highdicom", "matplotlib", "PIL", "alembic"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # Their warnings quote the values that they dislike, in the log and again by way of `warnings`: those may be a name.
    logging.getLogger("pydicom").setLevel(logging.DEBUG if section.level == "debug" else logging.CRITICAL)
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").setLevel(logging.DEBUG if section.level == "debug" else logging.CRITICAL)
    # It logs one ERROR for each odd peer in words of its own; the node's log says the same with the association bound.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


def _renderer(section: LoggingSection) -> list[structlog.types.Processor]:
    as_json = section.format == "json" or (section.format == "auto" and not sys.stderr.isatty())
    if as_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    # Plain tracebacks: the default ones show local variables, and with them patients.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that takes key-value pairs."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
