"""A wall clock that is set, forward or back: no series is cut in two, nothing waits longer, nothing goes early."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from ctiqa_node.clock import ClockWatch
from ctiqa_node.config import Config, DeliverySection, SeriesSection
from ctiqa_node.db import columns
from ctiqa_node.db.books import Reconciliation
from ctiqa_node.db.clock import ClockStep, overcounted
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, JobState, OutputKind, OutputState, SeriesState
from ctiqa_node.db.tables import Delivery, Instance, Job, Output, Series
from ctiqa_node.delivery import is_given_up
from ctiqa_node.ingest import Ingest
from ctiqa_node.ledger.backup import backups_of
from ctiqa_node.ledger.retention import expire
from ctiqa_node.ledger.rounds import Rounds
from ctiqa_node.retention import Retention
from ctiqa_node.scheduler import Scheduler
from ctiqa_node.spool import Spool
from ctiqa_node.state import StateFolder
from support.rows import add_delivery, add_series, add_waiting_job, new_database
from support.slices import ct_datasets, received
from support.waiting import eventually

DAY, HOUR = 86400.0, 3600.0


class Clocks:
    """A wall clock that can be set, and a monotonic one that only passes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._passed, self._step = 0.0, 0.0
        monkeypatch.setattr(columns, "wall", lambda: 1.8e9 + self._passed + self._step)

    def monotonic(self) -> float:
        return self._passed

    def let_pass(self, seconds: float) -> None:
        self._passed += seconds

    def set_by(self, seconds: float) -> None:
        self._step += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = new_database(tmp_path / "ctiqa.sqlite")
    yield made
    made.close()


def watch(database: Database, clocks: Clocks, **settings: object) -> ClockWatch:
    return ClockWatch(Config(**settings), database, clocks.monotonic)


@pytest.fixture
def ingest(database: Database, clocks: Clocks, tmp_path: Path) -> Ingest:
    """With the first three of five slices received."""
    made = Ingest(database, Spool(tmp_path / "spool", 0), SeriesSection(quiet_seconds=20), monotonic=clocks.monotonic)
    for dataset in ct_datasets(tmp_path / "ct", 5)[:3]:
        made.receive(received(dataset))
    return made


@pytest.mark.parametrize("step", [DAY, -DAY, 30 * DAY, -HOUR])
def test_a_series_falls_quiet_after_its_time_and_not_before(
    database: Database, clocks: Clocks, ingest: Ingest, step: float
) -> None:
    looking = watch(database, clocks)
    clocks.let_pass(5)
    clocks.set_by(step)
    for _ in range(14):
        looking.look()
        assert ingest.close_quiet_series() == 0, "its sender was heard of less than 20 s ago"
        clocks.let_pass(1)
    closed = 0
    for _ in range(8):
        looking.look()
        closed += ingest.close_quiet_series()
        clocks.let_pass(1)
    # After a step back it waits anew from the step on: 20 s more, and no day.
    for _ in range(20 if step < 0 else 0):
        looking.look()
        closed += ingest.close_quiet_series()
        clocks.let_pass(1)
    assert closed == 1


def test_what_waits_to_be_tried_again_waits_no_day_longer(database: Database, clocks: Clocks) -> None:
    looking = watch(database, clocks, delivery={"max_retry_seconds": 900})
    with database.write() as session:
        job = add_waiting_job(session)
        job.not_before = now() + timedelta(seconds=5)
        series = add_series(session, SeriesState.ANALYSED, revision=1)
        late = add_delivery(session, series, OutputKind.PDF, DeliveryState.PENDING)
        late.next_try_at = now() + timedelta(seconds=900)
        asked = add_delivery(session, series, OutputKind.KEY_OBJECTS, DeliveryState.UNCOMMITTED)
        asked.next_try_at = now() + timedelta(seconds=3600)
    looking.look()
    assert looking.pull_in() == 0, "nothing waits longer than it may"
    clocks.set_by(-DAY)
    looking.look()
    with database.read() as session:
        assert all(each.next_try_at <= now() for each in session.scalars(select(Delivery)))
        (todo,) = session.scalars(select(Job).where(Job.state == JobState.TODO))
        assert todo.not_before <= now()
        (step,) = session.scalars(select(ClockStep))
        assert step.seconds == pytest.approx(-DAY)


@pytest.mark.parametrize(
    ("steps", "days"),
    [((), 0), ((1,), 1), ((-1,), 0), ((1, -1), 0), ((-1, 1), 1), ((1, 2), 3), ((3, -1), 2), ((2, -1, 1), 2)],
)
def test_an_age_is_overcounted_by_what_the_clock_went_forward_and_not_back(
    database: Database, clocks: Clocks, steps: tuple[int, ...], days: int
) -> None:
    looking = watch(database, clocks)
    for step in steps:
        clocks.set_by(step * DAY)
        looking.look()
        clocks.let_pass(60)
    with database.read() as session:
        assert overcounted(session, timedelta(days=7)) / timedelta(days=1) == pytest.approx(days)
    clocks.let_pass(30 * DAY)
    with database.read() as session:
        assert overcounted(session, timedelta(days=7)) == timedelta(0), "a step of long ago tells nothing of last week"


def test_a_look_that_was_late_is_no_step(database: Database, clocks: Clocks) -> None:
    looking = watch(database, clocks)
    clocks.let_pass(HOUR)
    clocks.set_by(5)
    looking.look()
    with database.read() as session:
        assert session.scalars(select(ClockStep)).all() == []


def test_pixel_data_and_results_go_no_day_early_and_nothing_is_given_up_early(
    database: Database, clocks: Clocks, ingest: Ingest, tmp_path: Path
) -> None:
    looking, folder = watch(database, clocks), StateFolder(tmp_path)
    folder.outputs.mkdir()
    with database.write() as session:
        series = session.scalars(select(Series)).one()
        series.state, series.revision = SeriesState.DELIVERED, 1
        add_delivery(session, series, OutputKind.PDF, DeliveryState.SENT)
        other = add_series(session, SeriesState.ANALYSED, revision=1)
        add_delivery(session, other, OutputKind.PDF, DeliveryState.PENDING)

    def gone() -> tuple[int, int, bool]:
        expire(database, folder, 7, lambda: None)
        Retention(database, folder.outputs, 7).sweep()
        with database.read() as session:
            pixels = session.scalars(select(Instance).where(Instance.expired_at.is_not(None))).all()
            results = session.scalars(select(Output).where(Output.state == OutputState.REMOVED)).all()
            waiting = session.scalars(select(Delivery).where(Delivery.state == DeliveryState.PENDING)).one()
            return len(pixels), len(results), is_given_up(session, waiting, DeliverySection(give_up_after_days=7))

    clocks.let_pass(6 * DAY)
    looking.look()
    clocks.set_by(30 * DAY)
    looking.look()
    assert gone() == (0, 0, False)
    clocks.let_pass(DAY + 60)
    looking.look()
    assert gone() == (3, 1, True)


def rounds(database: Database, root: Path) -> Rounds:
    return Rounds(Config(node={"state_dir": root}, spool={"min_free_mib": 0}, retention={"days": None}), database)


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_daily_work_is_done_once_after_a_step_and_then_daily(
    database: Database, clocks: Clocks, tmp_path: Path, step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("spool", "outputs"):
        (tmp_path / name).mkdir()
    daily = rounds(database, tmp_path)

    def done() -> tuple[int, int]:
        before = {path.name for path in backups_of(StateFolder(tmp_path))}
        daily.reconcile()
        daily.back_up()
        for path in backups_of(StateFolder(tmp_path)):
            if path.name not in before:
                os.utime(path, (columns.wall(), columns.wall()))
        with database.read() as session:
            return len(session.scalars(select(Reconciliation)).all()), len(backups_of(StateFolder(tmp_path)))

    assert done() == (1, 1)
    clocks.let_pass(HOUR)
    assert done() == (1, 1)
    clocks.set_by(step)
    assert done() == (2, 2)
    clocks.let_pass(HOUR)
    assert done() == (2, 2), "and not again and again"
    # A backup whose date lay ahead counts once more when that has come: the one after it may be a day late.
    clocks.let_pass(2 * DAY)
    assert done() == (3, 3)


def test_a_backup_from_before_the_clock_was_set_back_is_older_than_one_made_since(
    clocks: Clocks, tmp_path: Path
) -> None:
    folder = StateFolder(tmp_path)
    folder.backups.mkdir()
    names = []
    for step in (0.0, DAY, -2 * DAY):
        clocks.set_by(step)
        names.append(f"ctiqa-{now():%Y%m%d-%H%M%S}.sqlite")
        (folder.backups / names[-1]).touch()
    assert backups_of(folder)[-1].name == names[-1]


def test_recurring_work_goes_on_when_the_wall_clock_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctiqa_node.scheduler.GUARD_SECONDS", 0.05)
    calls: list[float] = []
    set_by = [0.0]
    scheduler = Scheduler(wall=lambda: time.time() + set_by[0])
    scheduler.every(0.05, "work", lambda: calls.append(time.monotonic()))
    scheduler.every(0.05, "trouble", _fail)
    scheduler.start()
    eventually(lambda: len(calls) >= 2)
    # To APScheduler a clock that was set back by a day is one by which its next call lies a day ahead.
    for job in scheduler._scheduler.get_jobs():
        job.modify(next_run_time=datetime.now(UTC) + timedelta(days=1))
    threading.Event().wait(0.3)
    already = len(calls)
    threading.Event().wait(0.3)
    assert len(calls) == already, "this is what the guard is for"
    set_by[0] = -DAY
    eventually(lambda: len(calls) >= already + 3)
    scheduler.stop()
    already = len(calls)
    threading.Event().wait(0.2)
    assert len(calls) == already


def _fail() -> None:
    raise ZeroDivisionError
