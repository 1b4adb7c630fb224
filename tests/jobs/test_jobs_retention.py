"""Results that have come to their end are removed when the days are over, and a crash leaves nothing unexplained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from ctiqa_node.config import OutputsSection
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, OutputKind, OutputState, SeriesState
from ctiqa_node.db.tables import Delivery, DeliveryTry, Output, Series
from ctiqa_node.delivery import drop, retry
from ctiqa_node.errors import CtiqaError
from ctiqa_node.results import series_result
from ctiqa_node.retention import Retention
from ctiqa_node.settling import settle
from ctiqa_node.story import tell
from support.rows import add_delivery, add_series

REPORT, PAGE, PARAMETRIC = OutputKind.STRUCTURED_REPORT, OutputKind.SUMMARY_PAGE, OutputKind.PARAMETRIC_MAP
SENT, PENDING, FAILED, REFUSED = (
    DeliveryState.SENT, DeliveryState.PENDING, DeliveryState.FAILED, DeliveryState.REFUSED,
)  # fmt: skip
DROPPED, SUPERSEDED = DeliveryState.DROPPED, DeliveryState.SUPERSEDED
KEPT, REMOVING, REMOVED = OutputState.KEPT, OutputState.REMOVING, OutputState.REMOVED

Add = Callable[..., int]
Sweep = Callable[[float | None], int]


class Killed(BaseException):
    """What a signal would do to the node: nothing after it is done."""


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder


@pytest.fixture
def add(database: Database, outputs: Path) -> Add:
    """add(sr=state …): a series whose objects lie in files, each with a delivery that has come so far; its ID."""

    def make(*, days: float = 0, state: SeriesState = SeriesState.DELIVERED, **kinds: DeliveryState) -> int:
        with database.write() as session:
            series = add_series(session, state, revision=1)
            (outputs / str(series.id)).mkdir()
            for kind, delivered in kinds.items():
                delivery = add_delivery(session, series, OutputKind(kind), delivered)
                delivery.output.path = f"{series.id}/1-{kind}.dcm"
                delivery.output.made_at = delivery.tries[0].at = now() - timedelta(days=days)
                (outputs / delivery.output.path).write_bytes(b"DICM")
            return series.id

    return make


@pytest.fixture
def sweep(database: Database, outputs: Path) -> Sweep:
    """sweep(days): what the scheduler does once a minute."""
    return lambda days: Retention(database, outputs, days).sweep()


def _states(database: Database) -> dict[OutputKind, OutputState]:
    with database.read() as session:
        return {output.kind: output.state for output in session.scalars(select(Output))}


def _files(outputs: Path) -> list[str]:
    return sorted(path.name for path in outputs.rglob("*"))


def test_the_objects_of_a_delivered_series_are_removed_with_their_folder_and_the_rows_tell(
    database: Database, outputs: Path, add: Add, sweep: Sweep
) -> None:
    series_id = add(sr=SENT, summary=SENT)
    assert sweep(0) == 2
    assert _files(outputs) == []
    assert _states(database) == {REPORT: REMOVED, PAGE: REMOVED}
    assert sweep(0) == 0
    with database.read() as session:
        series = session.get_one(Series, series_id)
        assert all(output.removed_at is not None for output in series.outputs)
        assert series_result(session, series).state == "delivered"
        told = [happening.what for happening in tell(session, series).happenings]
    assert told[-2:] == ["revision 1 sr removed here", "revision 1 summary removed here"]


@pytest.mark.parametrize(("days", "left"), [(29.9, 2), (30.1, 0)])
def test_they_stay_for_the_configured_days(outputs: Path, add: Add, sweep: Sweep, days: float, left: int) -> None:
    add(days=days, sr=SENT, summary=SENT)
    sweep(30)
    assert len(list(outputs.rglob("*.dcm"))) == left


def test_the_days_count_from_the_last_try(database: Database, add: Add, sweep: Sweep) -> None:
    add(days=40, sr=SENT, summary=SENT)
    with database.write() as session:
        session.add(DeliveryTry(delivery_id=1, at=now() - timedelta(days=1), answer="Success"))
    assert sweep(30) == 0
    assert sweep(0.5) == 2


def test_without_an_end_they_stay_for_ever(outputs: Path, add: Add, sweep: Sweep) -> None:
    assert OutputsSection(keep_days=None).keep_days is None
    add(days=10_000, sr=SENT)
    assert sweep(None) == 0
    assert _files(outputs) == ["1", "1-sr.dcm"]


@pytest.mark.parametrize(
    ("deliveries", "removed"),
    [
        ({"sr": SENT, "summary": PENDING}, 0),
        ({"sr": SENT, "summary": FAILED}, 0),
        ({"sr": REFUSED, "summary": SENT}, 0),
        ({"sr": SENT, "parametric_map": REFUSED}, 2),
        ({"sr": SENT, "summary": DROPPED}, 2),
        ({"sr": SUPERSEDED, "summary": SUPERSEDED}, 2),
    ],
)
def test_what_was_never_delivered_stays_and_holds_the_rest_of_its_series(
    add: Add, sweep: Sweep, deliveries: dict[str, DeliveryState], removed: int
) -> None:
    add(days=100, **deliveries)
    assert sweep(0) == removed


def test_what_is_dropped_is_no_longer_held(database: Database, add: Add, sweep: Sweep) -> None:
    add(days=100, state=SeriesState.UNDELIVERED, sr=SENT, summary=FAILED)
    with database.write() as session:
        drop(session, session.get_one(Delivery, 2))
    assert sweep(0) == 2


def test_a_revision_that_was_replaced_goes_though_it_was_never_delivered(
    database: Database, add: Add, sweep: Sweep
) -> None:
    series_id = add(sr=REFUSED, summary=FAILED)
    with database.write() as session:
        series = session.get_one(Series, series_id)
        series.revision, series.state = 2, SeriesState.ANALYSING
        add_delivery(session, series, PARAMETRIC, SENT)
    assert sweep(0) == 2
    assert _states(database) == {REPORT: REMOVED, PAGE: REMOVED, PARAMETRIC: KEPT}


@pytest.mark.parametrize("state", [SeriesState.ANALYSING, SeriesState.COMPLETE])
def test_nothing_goes_while_more_of_it_may_be_made(add: Add, sweep: Sweep, state: SeriesState) -> None:
    add(state=state, days=100, sr=SENT)
    assert sweep(0) == 0


def test_objects_for_nobody_are_removed_too(database: Database, add: Add, sweep: Sweep) -> None:
    series_id = add(state=SeriesState.ANALYSED, days=31, sr=SENT)
    with database.write() as session:
        session.delete(session.get_one(DeliveryTry, 1))
        session.flush()
        session.delete(session.get_one(Delivery, 1))
    assert sweep(30) == 1
    with database.read() as session:
        assert session.get_one(Series, series_id).state is SeriesState.ANALYSED


@pytest.fixture(params=["before the file goes", "after the file has gone"])
def killed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The node is killed between the row and the file, or between the file and the row."""

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if request.param == "before the file goes":
            patch.setattr("ctiqa_node.retention.remove_durably", die)
        else:
            patch.setattr(Retention, "_record", die)
        yield patch


def test_a_crash_between_row_and_file_is_made_good_by_the_next_sweep(
    database: Database, outputs: Path, add: Add, sweep: Sweep, killed: pytest.MonkeyPatch
) -> None:
    add(sr=SENT)
    with pytest.raises(Killed):
        sweep(0)
    assert _states(database) == {REPORT: REMOVING}
    with database.write() as session:
        delivery = session.get_one(Delivery, 1)
        delivery.state = DROPPED
        with pytest.raises(CtiqaError, match=r"was removed 20.* as outputs\.keep_days has it"):
            retry(session, delivery)
    killed.undo()
    assert sweep(None) == 1  # whatever the days are now
    assert _states(database) == {REPORT: REMOVED}
    assert _files(outputs) == []


def test_a_file_that_cannot_be_removed_is_tried_again_and_holds_up_no_other(
    database: Database, outputs: Path, add: Add, sweep: Sweep
) -> None:
    add(sr=SENT, summary=SENT)
    stubborn = outputs / "1" / "1-sr.dcm"
    stubborn.unlink()
    stubborn.mkdir()  # which unlink() refuses, even to root
    assert sweep(0) == 1
    assert _states(database) == {REPORT: REMOVING, PAGE: REMOVED}
    stubborn.rmdir()
    assert sweep(0) == 1
    assert _states(database) == {REPORT: REMOVED, PAGE: REMOVED}


def test_a_removed_object_is_not_sent_again_and_the_series_stays_as_it_is(
    database: Database, add: Add, sweep: Sweep
) -> None:
    series_id = add(sr=SENT, parametric_map=REFUSED)
    sweep(0)
    with database.write() as session:
        with pytest.raises(CtiqaError, match="a destination that has it can send it on"):
            retry(session, session.get_one(Delivery, 2))
        series = session.get_one(Series, series_id)
        settle(session, series)
        assert series.state is SeriesState.DELIVERED
