"""One line of the page."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel


class Mark(StrEnum):
    """How it stands."""

    OK = "ok"
    NOTE = "note"
    """Not as it should be in a hospital, or not looked at; nothing is broken."""
    FAILED = "failed"


class Finding(BaseModel):
    """What was looked at, what was found, and what to do where something is to be done."""

    area: str
    mark: Mark
    what: str
    to_do: str | None = None


def fine(area: str, what: str) -> Finding:
    """All is well."""
    return Finding(area=area, mark=Mark.OK, what=what)


def note(area: str, what: str, to_do: str | None = None) -> Finding:
    """Worth knowing."""
    return Finding(area=area, mark=Mark.NOTE, what=what, to_do=to_do)


def failed(area: str, what: str, to_do: str) -> Finding:
    """Something is wrong."""
    return Finding(area=area, mark=Mark.FAILED, what=what, to_do=to_do)
