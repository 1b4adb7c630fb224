"""How columns keep times and words, and the present moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import ColumnElement, DateTime, Dialect, Enum, TypeDecorator, literal_column
from sqlalchemy.orm import InstrumentedAttribute

Value = TypeVar("Value")

wall: Callable[[], float] = time.time
"""The wall clock, in seconds of the epoch."""


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.fromtimestamp(wall(), UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime; SQLite keeps it as naive UTC, which sorts as text."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store as UTC without its zone."""
        del dialect
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


def words(enumeration: type[StrEnum]) -> Enum:
    """A column of an enumeration, kept as its words, so that the file can be read with any SQLite tool."""
    return Enum(
        enumeration, native_enum=False, length=32, values_callable=lambda members: [member.value for member in members]
    )


def without_index(column: InstrumentedAttribute[Value]) -> ColumnElement[Value]:
    """The column, but SQLite looks for no index of it: with a plus before it a term is none for its planner.

    For where it knows too little of a table, and would begin with what most rows have in common.
    """
    return literal_column(f"+{column.expression}", column.type)
