"""The audit: lines come with what they tell of, cannot be changed, and name no patient."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from ledger_books import Books
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from typer.testing import CliRunner, Result

from ctiqa_node import audit
from ctiqa_node.cli.app import app
from ctiqa_node.ct.writer import SeriesTags
from ctiqa_node.db.books import TRIGGERS, AuditEntry, AuditEvent
from ctiqa_node.db.columns import now
from ctiqa_node.db.states import AssociationOutcome
from ctiqa_node.db.tables import Association
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.ledger.reconcile import never
from ctiqa_node.ledger.retention import expire

PATIENT = {"patient_name": "=Doe^Jane", "patient_id": "DOE-4711", "accession_number": "ACC-DOE-1"}


@pytest.fixture
def kept(tmp_path: Path) -> Books:
    """Books whose tables Alembic made, with one assessed series that was sent ten days ago."""
    (tmp_path / "state").mkdir()
    upgrade(tmp_path / "state" / "ctiqa.sqlite")
    books = Books(tmp_path)
    books.receive(5, SeriesTags(**PATIENT))
    books.close()
    books.assess()
    books.let_pass(10 * 86400)
    return books


@pytest.fixture
def run(kept: Books) -> Callable[..., Result]:
    config = kept.root / "config.yaml"
    config.write_text(f"node: {{state_dir: {kept.folder.root}}}\n")

    def call(*words: str) -> Result:
        return CliRunner().invoke(app, ["--config", str(config), *words])

    return call


def entries(books: Books) -> list[AuditEntry]:
    with books.database.read() as session:
        return list(session.scalars(select(AuditEntry).order_by(AuditEntry.id)))


def test_the_triggers_are_those_that_the_migration_makes(kept: Books) -> None:
    with sqlite3.connect(kept.database.path) as connection:
        made = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'")}
    assert made == set(TRIGGERS)


@pytest.mark.parametrize("change", [update(AuditEntry).values(who="nobody"), delete(AuditEntry)])
def test_a_line_can_be_neither_changed_nor_deleted(kept: Books, change: object) -> None:
    with kept.database.write() as session:
        audit.note(session, AuditEvent.STARTED, "node", {"version": "1"})
    before = [(entry.id, entry.who) for entry in entries(kept)]
    with (
        pytest.raises((IntegrityError, OperationalError), match="can only be added to"),
        kept.database.write() as session,
    ):
        session.execute(change)  # type: ignore[call-overload]
    assert [(entry.id, entry.who) for entry in entries(kept)] == before


def test_replacing_a_line_is_refused_too(kept: Books) -> None:
    with kept.database.write() as session:
        audit.note(session, AuditEvent.STARTED, "node", {"version": "1"})
    replace = "INSERT OR REPLACE INTO audit (id, at, event, who, address, detail) VALUES (1, '', '', '', '', '{}')"
    connection = sqlite3.connect(kept.database.path)
    with pytest.raises(sqlite3.IntegrityError, match="can only be added to"):
        connection.execute(replace)
    connection.close()


@pytest.mark.parametrize("outcome", [AssociationOutcome.RELEASED, AssociationOutcome.ABORTED, AssociationOutcome.LOST])
def test_an_association_is_noted_once_when_it_ends_however_it_ends(kept: Books, outcome: AssociationOutcome) -> None:
    with kept.database.write() as session:
        row = Association(
            calling_ae_title="CT_9", called_ae_title="CTIQA", address="10.0.0.9", port=1, opened_at=now(),
            outcome=AssociationOutcome.OPEN, stored=17,
        )  # fmt: skip
        session.add(row)
        session.add(
            Association(
                calling_ae_title="ECHO", called_ae_title="CTIQA", address="10.0.0.9", port=1, opened_at=now(),
                outcome=AssociationOutcome.OPEN,
            )
        )  # fmt: skip
    for _ in range(2):
        with kept.database.write() as session:
            session.execute(
                update(Association).where(Association.id >= row.id).values(outcome=outcome, closed_at=now())
            )
    (entry,) = entries(kept)
    assert (entry.event, entry.who, entry.address) == ("received", "CT_9", "10.0.0.9")
    assert entry.detail == {"stored": 17, "refused": 0, "association": outcome.value}


def test_a_rejected_association_is_noted_with_the_reason(kept: Books) -> None:
    with kept.database.write() as session:
        session.add(
            Association(
                calling_ae_title="STRANGER", called_ae_title="X", address="10.0.0.66", port=1, opened_at=now(),
                outcome=AssociationOutcome.REJECTED, detail="called AE title not recognised (ours is CTIQA)",
            )
        )  # fmt: skip
    (entry,) = entries(kept)
    assert (entry.event, entry.who) == ("association rejected", "STRANGER")
    assert "not recognised" in str(entry.detail["reason"])


def test_commands_are_noted_with_who_ran_them_and_without_their_arguments(
    kept: Books, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    assert run("why", "ACC-DOE-1").exit_code == 0
    assert run("results", "DOE-4711").exit_code == 0
    run("queue", "retry", "J99")
    run("reconcile")
    run("status")
    run("purge", "--patient", "NOBODY", "--yes")
    noted = [(entry.detail.get("command"), entry.who) for entry in entries(kept)]
    assert [command for command, _ in noted] == ["why", "results", "queue retry", "reconcile", "purge"]
    assert all(who.endswith(", by sudo from alice") for _, who in noted)


def test_nothing_in_it_tells_who_a_patient_is(kept: Books, run: Callable[..., Result]) -> None:
    with kept.database.read() as session:
        uids = [str(row[0]) for row in session.execute(text("SELECT series_instance_uid FROM series UNION "
                                                            "SELECT study_instance_uid FROM series"))]  # fmt: skip
    run("why", "DOE-4711")
    expire(kept.database, kept.folder, 7, never)
    run("purge", "--patient", "DOE-4711", "--yes")
    for words in ([], ["--csv"], ["--json"]):
        told = run("audit", *words).output
        assert "purged" in told
        assert "pixel data expired" in told
        assert not [name for name in (*PATIENT.values(), "DOE", *uids) if name in told]
    assert {entry.subject for entry in entries(kept)} - {None} <= {audit.digest_of(uid) for uid in uids}


def test_the_export_is_csv_or_json_of_all_or_since_a_moment(kept: Books, run: Callable[..., Result]) -> None:
    with kept.database.write() as session:
        audit.note(session, AuditEvent.COMMAND, "=cmd()", {"command": "why"})
    rows = list(csv.DictReader(StringIO(run("audit", "--csv").stdout)))
    assert rows[0]["who"] == "'=cmd()"
    assert rows[0]["detail"] == "command: why"
    found = json.loads(run("audit", "--json").stdout)
    assert [line["detail"]["command"] for line in found] == ["why", "audit", "audit"]
    assert run("audit", "--since", "2999-01-01").output.strip() == "The audit has no line of that time."
    assert run("audit", "--csv", "--json").exit_code == 2
