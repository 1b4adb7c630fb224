"""Purge: everything of one goes, everything of the others stays, and no byte of it is left in the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_books import Books
from sqlalchemy import event, func, select
from typer.testing import CliRunner, Result

from ctiqa_node.cli.app import app
from ctiqa_node.ct.writer import SeriesTags
from ctiqa_node.db.books import AuditEntry
from ctiqa_node.db.tables import Base, Instance, Output, Series
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.errors import CtiqaError
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.ledger.purge import Target, identifiers, purge
from ctiqa_node.ledger.removal import carry_out
from ctiqa_node.ledger.traces import rewrite, search
from support.slices import ct_datasets, part10

DOE = {"patient_name": "Doe^Jane^Purged", "patient_id": "DOE-4711", "accession_number": "ACC-DOE-1"}
ROE = {"patient_name": "Roe^Richard", "patient_id": "ROE-4712", "accession_number": "ACC-ROE-1"}
STUDY = "2.25.987654321987654321"


@pytest.fixture
def two_patients(tmp_path: Path) -> Books:
    """Doe with two studies, one assessed, and a file without a row; Roe with one study, assessed."""
    (tmp_path / "state").mkdir()
    upgrade(tmp_path / "state" / "ctiqa.sqlite")
    books = Books(tmp_path)
    for tags in (SeriesTags(**DOE, study_uid=STUDY), SeriesTags(**ROE)):
        books.receive(5, tags)
        books.close()
        books.assess()
    books.receive(3, SeriesTags(**DOE))
    (dataset,) = ct_datasets(tmp_path / "more", 1, tags=SeriesTags(**DOE, study_uid=STUDY))
    (books.folder.spool / "unclaimed").mkdir()
    (books.folder.spool / "unclaimed" / "x.dcm").write_bytes(part10(dataset))
    return books


def bytes_of(books: Books) -> bytes:
    """The whole state folder."""
    return b"".join(path.read_bytes() for path in sorted(books.folder.root.rglob("*")) if path.is_file())


def counts(books: Books) -> tuple[int, ...]:
    with books.database.read() as session:
        return tuple(session.scalar(select(func.count(each.id))) or 0 for each in (Series, Instance, Output))


def test_everything_of_a_patient_goes_and_everything_of_the_other_stays(two_patients: Books) -> None:
    books, target = two_patients, Target(patient_id="DOE-4711")
    with books.database.read() as session:
        named = identifiers(session, target)
    assert named.texts == set(DOE.values())
    found = purge(books.database, books.folder, target)
    assert (found.series, found.instances, found.results, len(found.unclaimed)) == (2, 8, 1, 1)
    assert counts(books) == (1, 5, 1)
    assert len(books.files()) == 5
    rewrite(books.folder.database)
    assert search(books.database, books.folder, target, named) == []
    content = bytes_of(books)
    for text in (*DOE.values(), *named.uids):
        assert text.encode() not in content
    for text in ROE.values():
        assert text.encode() in content
    account = books.account()
    assert account.troubles == []
    assert account.purged == 8
    assert account.fates == {"assessed": 5}


def test_a_study_goes_and_the_patients_other_study_stays(two_patients: Books) -> None:
    books, target = two_patients, Target(study_uid=STUDY)
    with books.database.read() as session:
        named = identifiers(session, target)
    assert purge(books.database, books.folder, target).instances == 5
    rewrite(books.folder.database)
    assert search(books.database, books.folder, target, named) == []
    assert STUDY.encode() not in bytes_of(books)
    assert counts(books) == (2, 8, 1)
    assert books.account().adds_up


def test_what_is_kept_for_the_audit_holds_counts_and_no_patient(two_patients: Books) -> None:
    from ctiqa_node.audit import digest_of

    books = two_patients
    purge(books.database, books.folder, Target(patient_id="DOE-4711"))
    with books.database.read() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.event == "purged")).all()
    assert digest_of(STUDY) in {entry.subject for entry in entries}
    assert sum(int(entry.detail.get("answers", 0)) for entry in entries) == 8
    told = " ".join(f"{entry.who} {entry.address} {entry.subject} {entry.detail}" for entry in entries)
    assert not [text for text in (*DOE.values(), STUDY) if text in told]


def test_without_writing_it_anew_the_search_finds_what_the_log_still_holds(two_patients: Books) -> None:
    books, target = two_patients, Target(patient_id="DOE-4711")
    with books.database.read() as session:
        named = identifiers(session, target)
    purge(books.database, books.folder, target)
    assert any("ctiqa.sqlite-wal holds" in trace for trace in search(books.database, books.folder, target, named))


def test_while_a_job_of_it_runs_it_is_refused_and_nothing_changes(two_patients: Books) -> None:
    books = two_patients
    books.receive(5, SeriesTags(**DOE))
    books.close()
    with books.database.write() as session:
        while (job := jobs.claim(session, "worker")) is not None:
            assert job.series.patient_id == "DOE-4711"
    before = counts(books), len(books.files())
    with pytest.raises(CtiqaError, match=r"Job J\d+ is assessing a series of it just now"):
        purge(books.database, books.folder, Target(patient_id="DOE-4711"))
    assert (counts(books), len(books.files())) == before
    purge(books.database, books.folder, Target(patient_id="ROE-4712"))


class Killed(BaseException):
    """The process ends here."""


def die_in_the_transaction(books: Books) -> None:
    def die(*_: object) -> None:
        raise Killed

    event.listen(books.database._engine, "commit", die)
    with pytest.raises(Killed):
        purge(books.database, books.folder, Target(patient_id="DOE-4711"))
    event.remove(books.database._engine, "commit", die)


def die_after_the_transaction(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr("ctiqa_node.ledger.purge.carry_out", die)
    with pytest.raises(Killed):
        purge(books.database, books.folder, Target(patient_id="DOE-4711"))


def test_a_crash_after_the_transaction_is_finished_by_the_next_start(
    two_patients: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_after_the_transaction(two_patients, monkeypatch)
    assert two_patients.account().adds_up
    assert len(two_patients.files()) == 5 + 8
    carry_out(two_patients.database, two_patients.folder.root)
    assert len(two_patients.files()) == 5
    assert not list(two_patients.folder.outputs.glob("purged-*"))
    assert two_patients.account().adds_up


def test_a_crash_within_the_transaction_is_made_good_by_purging_again(two_patients: Books) -> None:
    die_in_the_transaction(two_patients)
    assert counts(two_patients) == (3, 13, 2)
    purge(two_patients.database, two_patients.folder, Target(patient_id="DOE-4711"))
    assert counts(two_patients) == (1, 5, 1)


def test_no_table_that_hangs_on_a_series_is_forgotten(two_patients: Books) -> None:
    purge(two_patients.database, two_patients.folder, Target(patient_id="DOE-4711"))
    purge(two_patients.database, two_patients.folder, Target(patient_id="ROE-4712"))
    kept = {"associations", "audit", "heartbeats", "reconciliations"}
    with two_patients.database.read() as session:
        left = {t.name for t in Base.metadata.sorted_tables if session.scalar(select(func.count()).select_from(t))}
    assert left <= kept


Ask = Callable[..., Result]


@pytest.fixture
def ask(two_patients: Books) -> Ask:
    """Run the command on the two patients' state."""
    config = two_patients.root / "config.yaml"
    config.write_text(f"node: {{state_dir: {two_patients.folder.root}}}\n")
    return lambda *words, **given: CliRunner().invoke(app, ["--config", str(config), "purge", *words], **given)


def test_the_command_says_what_it_removed_and_that_nothing_is_left(two_patients: Books, ask: Ask) -> None:
    assert ask("--patient", "DOE-4711", input="n\n").exit_code == 1
    assert counts(two_patients) == (3, 13, 2)
    ran = ask("--patient", "DOE-4711", input="y\n")
    assert ran.exit_code == 0, ran.output
    assert "Removed: 2 series, 8 instances, 1 result, 1 file in spool/unclaimed." in ran.output
    assert "nothing of it is left" in ran.output
    assert b"DOE-4711" not in bytes_of(two_patients)
    again = ask("--patient", "DOE-4711", "--yes")
    assert (again.exit_code, "Nothing is known of patient DOE-4711" in again.output) == (1, True)


def test_neither_and_both_are_wrong_usage(ask: Ask) -> None:
    assert ask("--yes").exit_code == 2
    assert ask("--patient", "A", "--study", "1.2").exit_code == 2
