"""`audit`: who sent, what was deleted, which commands were run by whom."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated

import typer
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.cli.context import config_of, open_database
from ctiqa_node.cli.moments import Since, moment_of
from ctiqa_node.cli.results_csv import harmless
from ctiqa_node.db.books import AuditEntry


class AuditLine(BaseModel):
    """One line of the audit."""

    id: int
    at: datetime
    event: str
    who: str
    address: str
    subject: str | None
    """SHA-256 of the Study or Series Instance UID in question."""
    detail: dict[str, str | int]


def audit(
    context: typer.Context,
    since: Since = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a heading.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show or export the audit: who sent, what expired or was purged, which commands were run by whom.

    Lines are only ever added; SQLite refuses to change or delete one. No patient is named: studies and series appear
    as the SHA-256 of their UID (`printf %s UID | sha256sum`).

    \b
    Examples:
      ctiqa-node audit --since 24h
      ctiqa-node audit --csv > audit.csv
      ctiqa-node audit --json | jq '.[] | select(.event == "purged")'
    """
    if as_csv and as_json:
        raise typer.BadParameter("give --csv or --json, not both")
    moment = moment_of(since)
    with open_database(config_of(context), "audit") as database, database.read() as session:
        lines = _lines(session, moment)
        if as_csv:
            _write_csv(lines)
        elif as_json:
            console.print_json(list(lines))
        else:
            _show(list(lines))


def _lines(session: Session, since: datetime | None) -> Iterator[AuditLine]:
    query = select(AuditEntry).order_by(AuditEntry.id).execution_options(yield_per=1000)
    if since is not None:
        query = query.where(AuditEntry.at >= since)
    for entry in session.scalars(query):
        yield AuditLine.model_validate(entry, from_attributes=True)


def _write_csv(lines: Iterator[AuditLine]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(AuditLine.model_fields)
    for line in lines:
        cells = (*line.model_dump(mode="json", exclude={"detail"}).values(), _told(line))
        writer.writerow(map(harmless, cells))


def _show(lines: Sequence[AuditLine]) -> None:
    if not lines:
        console.say("The audit has no line of that time.")
        return
    table = console.table(None, "No.", "Time (UTC)", "What", "Who", "Address", "Of", "Detail")
    table.columns[2].no_wrap = True  # the word to look for; the details fold
    for line in lines:
        subject = line.subject and line.subject[:12]
        console.row(table, line.id, console.when(line.at), line.event, line.who, line.address, subject, _told(line))
    console.out().print(table)


def _told(line: AuditLine) -> str:
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in line.detail.items())
