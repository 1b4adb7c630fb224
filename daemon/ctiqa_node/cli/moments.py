"""`--since`: a moment as an admin writes it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from ctiqa_node.db.columns import now

_SPAN = re.compile(r"(\d+)([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}

Since = Annotated[
    str | None, typer.Option(metavar="WHEN", help="A span (7d, 24h, 30m), a day (2026-11-20) or a moment, in UTC.")
]


def moment_of(text: str | None) -> datetime | None:
    """The moment that a person means; None for none.

    Raises:
        typer.BadParameter: it is no moment.
    """
    if text is None:
        return None
    if span := _SPAN.fullmatch(text):
        return now() - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a span like 24h nor a moment like 2026-11-20T08:00") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
