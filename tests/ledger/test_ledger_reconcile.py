"""Reading the books: what is well adds up, and whatever is not is found, with what to do."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from ledger_books import Books
from sqlalchemy import delete, select, update

from ctiqa_node.db.columns import now
from ctiqa_node.db.states import DeliveryState, InstanceState, JobState, SeriesState
from ctiqa_node.db.tables import AssessmentRow, Delivery, Heartbeat, Instance, Job, Series
from ctiqa_node.ledger import instances
from ctiqa_node.ledger.account import Account, Fate, TroubleKind
from ctiqa_node.ledger.reconcile import reconcile, record
from ctiqa_node.state import NodeLock
from support.slices import ct_datasets, received


def test_books_of_nothing_add_up(books: Books) -> None:
    account = books.account()
    assert account.adds_up
    assert (account.instances, account.files_read) == (0, 0)


def test_every_instance_has_one_fate_and_every_file_is_read(full_books: Books, tmp_path: Path) -> None:
    (one,) = ct_datasets(tmp_path / "a", 1)
    for number in range(3):
        one.InstanceNumber = number
        full_books.ingest.receive(received(one))
    full_books.ingest.receive(received(one))
    account = full_books.account()
    assert account.troubles == []
    assert account.fates == {
        Fate.WAITING: 5 + 3 + 1, Fate.ASSESSED: 5, Fate.LEFT_OUT: 1, Fate.SKIPPED: 2, Fate.QUARANTINED: 2,
    }  # fmt: skip
    assert sum(account.fates.values()) == account.instances == 19
    assert account.answers == 20
    files = full_books.files() + list((tmp_path / "state" / "outputs").rglob("*.dcm"))
    assert account.files_read == len(files) == 20
    assert account.bytes_read == sum(path.stat().st_size for path in files)


def test_a_page_of_rows_at_a_time_finds_the_same(full_books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = full_books.account()
    monkeypatch.setattr(instances, "PAGE", 2)
    paged = full_books.account()
    assert paged.fates == whole.fates
    assert paged.bytes_read == whole.bytes_read


def first_file(books: Books) -> Path:
    return books.files()[0]


def make_a_folder_of_it(path: Path) -> None:
    path.unlink()
    path.mkdir()


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def forget_an_instance(books: Books) -> None:
    with books.database.write() as session:
        session.execute(delete(Instance).where(Instance.id == 1))


def change(table: type, **values: object) -> Callable[[Books], None]:
    """Change one row that has a rule of its own; `where` as the first keyword picks it by its state."""
    where = values.pop("where")

    def carry_out(books: Books) -> None:
        with books.database.write() as session:
            row = session.scalars(select(table).where(table.state == where)).first()  # type: ignore[attr-defined]
            for name, value in values.items():
                setattr(row, name, value)

    return carry_out


def remove(table: type) -> Callable[[Books], None]:
    def carry_out(books: Books) -> None:
        with sqlite3.connect(books.database.path) as connection:  # without foreign keys, as a careless hand would
            connection.execute(f"DELETE FROM {table.__tablename__}")  # type: ignore[attr-defined]

    return carry_out


_LATER = now() + timedelta(days=40)
DAMAGE: dict[str, tuple[Callable[[Books], None], TroubleKind, str]] = {
    "a file is gone": (lambda b: first_file(b).unlink(), TroubleKind.MISSING, "is gone"),
    "a byte is another": (lambda b: flip_a_byte(first_file(b)), TroubleKind.CHANGED, "not what was received"),
    "a file is cut": (lambda b: os.truncate(first_file(b), 300), TroubleKind.CHANGED, "300 bytes"),
    "a file is a folder": (lambda b: make_a_folder_of_it(first_file(b)), TroubleKind.UNREADABLE, "Is a directory"),
    "a result is gone": (
        lambda b: next((b.root / "state/outputs").rglob("*.dcm")).unlink(), TroubleKind.MISSING, "revision 1",
    ),
    "a result is another": (
        lambda b: flip_a_byte(next((b.root / "state/outputs").rglob("*.dcm"))), TroubleKind.CHANGED, "what was made",
    ),
    "a file came from nowhere": (
        lambda b: (b.root / "state/spool/objects/00/x.dcm").write_bytes(b"x"), TroubleKind.UNCLAIMED, "has no row",
    ),
    "a result came from nowhere": (
        lambda b: (b.root / "state/outputs/1/9-sr.dcm").write_bytes(b"x"), TroubleKind.UNCLAIMED, "has no row",
    ),
    "a row is gone": (forget_an_instance, TroubleKind.LOST, "16 instances"),
    "the series are gone": (remove(Series), TroubleKind.BROKEN, "instances names a row of series"),
    "the values are gone": (remove(AssessmentRow), TroubleKind.CONTRADICTION, "without any value"),
    "the instances are gone": (remove(Instance), TroubleKind.CONTRADICTION, "without any instance"),
    "the jobs are gone": (remove(Job), TroubleKind.STUCK, "no job will assess it"),
    "no reason": (change(Series, where=SeriesState.SKIPPED, reason=None), TroubleKind.CONTRADICTION, "without a"),
    "a job for nobody": (change(Job, where=JobState.TODO, revision=7), TroubleKind.CONTRADICTION, "not wait for it"),
    "an end without a time": (change(Job, where=JobState.DONE, finished_at=None), TroubleKind.CONTRADICTION, "knows"),
    "sent without a time": (
        change(Delivery, where=DeliveryState.SENT, sent_at=None), TroubleKind.CONTRADICTION, "is sent, and nobody",
    ),
    "to nowhere": (
        change(Delivery, where=DeliveryState.SENT, state=DeliveryState.PENDING, destination="gone"), TroubleKind.STUCK,
        "has no such destination",
    ),
    "far in the future": (
        change(Delivery, where=DeliveryState.SENT, state=DeliveryState.PENDING, next_try_at=_LATER), TroubleKind.STUCK,
        "clock",
    ),
    "not settled": (
        change(Series, where=SeriesState.DELIVERED, state=SeriesState.ANALYSED), TroubleKind.STUCK, "have ended",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_what_does_not_add_up_is_found_with_what_to_do(full_books: Books, name: str) -> None:
    damage, kind, words = DAMAGE[name]
    assert full_books.account().adds_up
    damage(full_books)
    account = full_books.account()
    assert not account.adds_up
    told = [trouble for trouble in account.troubles if trouble.kind is kind and words in trouble.what]
    assert told, account.troubles
    assert all(trouble.to_do for trouble in account.troubles)


def test_a_trouble_of_an_instance_names_its_series(full_books: Books) -> None:
    first_file(full_books).unlink()
    (trouble,) = full_books.account().troubles
    with full_books.database.read() as session:
        assert trouble.series_instance_uid in set(session.scalars(select(Series.series_instance_uid)))


def test_a_file_that_came_again_after_it_had_gone_is_well(books: Books, tmp_path: Path) -> None:
    (dataset,) = ct_datasets(tmp_path / "a", 1)
    books.ingest.receive(received(dataset))
    first_file(books).unlink()
    assert not books.account().adds_up
    books.ingest.receive(received(dataset))
    assert books.account().adds_up


def test_of_a_time_before_no_file_is_read_but_its_rows_are(full_books: Books) -> None:
    with full_books.database.write() as session:
        session.execute(update(Instance).where(Instance.state == InstanceState.KEPT).values(received_at=_LATER))
    account = reconcile(full_books.config, full_books.database, _LATER - timedelta(days=1))
    assert account.instances == account.files_read == 16
    first_file(full_books).unlink()
    assert reconcile(full_books.config, full_books.database, _LATER + timedelta(days=1)).adds_up
    with full_books.database.write() as session:
        session.execute(update(Job).where(Job.state == JobState.TODO).values(revision=7))
    assert not reconcile(full_books.config, full_books.database, _LATER + timedelta(days=1)).adds_up


def test_a_series_that_stays_open_long_after_its_quiet_period_is_stuck_while_a_node_runs(books: Books) -> None:
    books.receive(3)
    books.let_pass(3600)
    started = now() - timedelta(hours=2)
    with books.database.write() as session:
        session.add(Heartbeat(process="node", pid=1, started_at=started, at=now()))
    assert books.account().adds_up
    with NodeLock(books.folder):
        (trouble,) = books.account().troubles
    assert "fell quiet" in trouble.what


def test_the_numbers_of_a_reading_are_kept(full_books: Books) -> None:
    from ctiqa_node.health import node_status

    record(full_books.database, full_books.account())
    status = node_status(full_books.config)
    assert status.last_reconciliation is not None
    assert status.last_reconciliation.adds_up
    assert status.last_reconciliation.fates["assessed"] == 5
    first_file(full_books).unlink()
    record(full_books.database, full_books.account())
    assert any("`ctiqa-node reconcile`" in complaint for complaint in node_status(full_books.config).complaints)


def test_no_more_troubles_are_told_than_can_be_read_but_all_are_counted(
    full_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctiqa_node.ledger.account.SHOWN", 3)
    for path in full_books.files():
        path.unlink()
    account: Account = full_books.account()
    assert len(account.troubles) == 3
    assert account.trouble_count == 16
