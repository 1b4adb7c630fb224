"""Retention of pixel data: what goes and what stays, what comes afterwards, and a crash between any two steps."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from ledger_books import Books
from pydicom.dataset import Dataset
from sqlalchemy import func, select, update

from ctiqa_node.arrivals import Outcome
from ctiqa_node.db.books import AuditEntry
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, SeriesState
from ctiqa_node.db.tables import Instance, Job, MeasurementRow, Series
from ctiqa_node.errors import CtiqaError
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.ledger import retention
from ctiqa_node.ledger.account import Fate, TroubleKind
from ctiqa_node.ledger.reconcile import never
from ctiqa_node.ledger.removal import carry_out
from ctiqa_node.ledger.retention import expire
from support.slices import ct_datasets, received

DAY = 86400.0


class Killed(BaseException):
    """The process ends here."""


def expire_now(books: Books, days: float | None = 7) -> int:
    return expire(books.database, books.folder, days, never)


def the_series(books: Books) -> Series:
    with books.database.read() as session:
        return session.scalars(select(Series).order_by(Series.id)).first()  # type: ignore[return-value]


def assessed_series(books: Books, delivery: DeliveryState = DeliveryState.SENT) -> list[Dataset]:
    """A series of five slices with values, sent ten days ago."""
    datasets = ct_datasets(books.root / "source", 5)
    for dataset in datasets:
        books.ingest.receive(received(dataset))
    books.close()
    books.assess(delivery)
    books.let_pass(10 * DAY)
    return datasets


def test_only_series_that_ended_long_ago_lose_their_pixels_and_keep_their_numbers(full_books: Books) -> None:
    before = len(full_books.files())
    full_books.let_pass(6 * DAY)
    assert expire_now(full_books) == 0
    full_books.let_pass(2 * DAY)
    assert expire_now(full_books) == 8  # the one with values and the skipped one; not what waits or is received
    assert len(full_books.files()) == before - 8
    account = full_books.account()
    assert account.troubles == []
    assert account.fates == {Fate.EXPIRED: 8, Fate.WAITING: 8}
    with full_books.database.read() as session:
        assert session.scalar(select(func.count(MeasurementRow.id))) == 1
        noted = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [(entry.event, entry.detail["instances"]) for entry in noted] == [
        ("pixel data expired", 6),
        ("pixel data expired", 2),
    ]
    assert expire_now(full_books) == 0


def test_no_days_keeps_for_ever(full_books: Books) -> None:
    full_books.let_pass(9999 * DAY)
    assert expire_now(full_books, days=None) == 0
    assert len(full_books.files()) == 16


def test_while_a_delivery_waits_nothing_goes(books: Books) -> None:
    assessed_series(books, DeliveryState.PENDING)
    assert the_series(books).state is SeriesState.ANALYSED
    assert expire_now(books) == 0


def test_a_batch_at_a_time_takes_all(full_books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    full_books.let_pass(10 * DAY)
    assert expire_now(full_books) == 8
    assert full_books.account().adds_up


def test_what_a_crash_had_set_aside_goes_after_the_same_time(books: Books) -> None:
    aside = books.folder.spool / "unclaimed"
    aside.mkdir()
    for name, age in (("old.dcm", 8 * DAY), ("young.dcm", 6 * DAY)):
        (aside / name).write_bytes(b"x")
        os.utime(aside / name, (time.time() - age,) * 2)
    assert expire_now(books) == 1
    assert [path.name for path in aside.iterdir()] == ["young.dcm"]


@pytest.mark.parametrize(
    "step", ["before the first file goes", "after the first file", "before the note is taken away"]
)
def test_a_crash_between_two_steps_leaves_books_that_add_up_and_the_next_start_finishes(
    books: Books, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    assessed_series(books)
    real, gone = Path.unlink, 0

    def unlink(self: Path, missing_ok: bool = False) -> None:
        nonlocal gone
        if step.startswith("before the first") or (step.startswith("after the first") and gone == 1):
            raise Killed
        gone += 1
        real(self, missing_ok=missing_ok)

    def no_sync(folder: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        if step.startswith("before the note"):
            patch.setattr("ctiqa_node.ledger.removal.sync_folder", no_sync)
        with pytest.raises(Killed):
            expire_now(books)
    left = {"before the first file goes": 5, "after the first file": 4, "before the note is taken away": 0}[step]
    assert len(books.files()) == left
    account = books.account()
    assert account.troubles == []
    assert (account.fates, account.to_be_removed) == ({Fate.EXPIRED: 5}, 5)
    again = Database(books.folder.database)
    assert carry_out(again, books.folder.root) == 5
    again.close()
    assert books.files() == []
    account = books.account()
    assert account.adds_up
    assert account.to_be_removed == 0


def test_a_file_that_cannot_be_removed_stays_written_down(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    assessed_series(books)
    stubborn, real = books.files()[2], Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if self == stubborn:
            raise OSError(errno.EROFS, "Read-only file system")
        real(self, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        expire_now(books)
        assert books.files() == [stubborn]
        assert books.account().to_be_removed == 1
    assert carry_out(books.database, books.folder.root) == 1
    assert books.files() == []


def test_an_expired_file_that_is_there_again_is_told(books: Books) -> None:
    assessed_series(books)
    path = books.files()[0]
    content = path.read_bytes()
    expire_now(books)
    path.write_bytes(content)
    (trouble,) = books.account().troubles
    assert trouble.kind is TroubleKind.UNCLAIMED
    assert "expired" in trouble.what


def test_the_same_series_again_after_its_values_are_there_is_counted_and_nothing_else(books: Books) -> None:
    datasets = assessed_series(books)
    expire_now(books)
    assert {books.ingest.receive(received(dataset)) for dataset in datasets} == {Outcome.DUPLICATE}
    assert books.files() == []
    assert the_series(books).state is SeriesState.DELIVERED
    account = books.account()
    assert (account.adds_up, account.answers, account.fates) == (True, 10, {Fate.EXPIRED: 5})


def test_a_late_slice_of_an_expired_series_is_kept_and_the_values_stand(books: Books) -> None:
    six = ct_datasets(books.root / "six", 6)
    for dataset in six[:5]:
        books.ingest.receive(received(dataset))
    books.close()
    books.assess()
    books.let_pass(10 * DAY)
    expire_now(books)
    assert books.ingest.receive(received(six[5])) is Outcome.KEPT
    books.close()
    series = the_series(books)
    assert (series.state, series.revision) == (SeriesState.SKIPPED, 1)
    assert "the pixel data of 5 of its 6 slices has expired" in str(series.reason)
    assert "the values of revision 1 stand" in str(series.reason)
    account = books.account()
    assert (account.adds_up, account.fates) == (True, {Fate.EXPIRED: 5, Fate.SKIPPED: 1})
    for dataset in six:  # and when the whole series is sent again, it is assessed anew
        books.ingest.receive(received(dataset))
    books.close()
    series = the_series(books)
    assert (series.state, series.revision) == (SeriesState.COMPLETE, 2)
    assert (books.account().adds_up, books.account().fates) == (True, {Fate.WAITING: 6})


def test_a_series_that_had_failed_can_be_sent_again_but_not_retried(books: Books) -> None:
    datasets = ct_datasets(books.root / "source", 5)
    for dataset in datasets:
        books.ingest.receive(received(dataset))
    books.close()
    with books.database.write() as session:
        job = jobs.claim(session, "worker")
        assert job is not None
        jobs.give_up(session, job, "out of luck")
    books.let_pass(10 * DAY)
    assert expire_now(books) == 5
    with pytest.raises(CtiqaError, match="pixel data of its series has expired"), books.database.write() as session:
        jobs.retry(session, session.get_one(Job, job.id))
    for dataset in datasets:
        assert books.ingest.receive(received(dataset)) is Outcome.DUPLICATE
    assert len(books.files()) == 5
    books.close()
    assert the_series(books).state is SeriesState.COMPLETE
    assert books.account().adds_up


def test_an_instance_that_comes_between_the_look_and_the_decision_keeps_the_series(books: Books) -> None:
    assessed_series(books)
    due = retention._next_due(books.database, retention.now())
    assert due is not None
    with books.database.write() as session:
        session.execute(update(Series).values(state=SeriesState.STALE))
        assert retention._expire_some(session, due, retention.now()) == 0
        assert session.scalar(select(func.count(Instance.id)).where(Instance.expired_at.is_not(None))) == 0
