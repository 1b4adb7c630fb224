"""Archives that do not take a SOP Class: told and not tried for days, and what else there is goes there instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pydicom.uid import (
    ComprehensiveSRStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
)
from sqlalchemy import select
from structlog.testing import CapturingLogger

from ctiqa_node.config import DeliverySection, Destination
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, OutputKind, SeriesState
from ctiqa_node.db.tables import Delivery, Output, Series
from ctiqa_node.delivery import Courier, drop, retry
from ctiqa_node.routing import refused_classes, wanted
from support.peers import Archive
from support.rows import SOP_CLASSES, add_output, add_series
from support.slices import result_files

QUICK = DeliverySection(first_retry_seconds=0.2, max_retry_seconds=0.5, connection_timeout_seconds=2)
REPORT, PAGE = OutputKind.STRUCTURED_REPORT, OutputKind.SUMMARY_PAGE
MAPS, PARAMETRIC = OutputKind.QUALITY_MAPS, OutputKind.PARAMETRIC_MAP
SENT, REFUSED, PENDING = DeliveryState.SENT, DeliveryState.REFUSED, DeliveryState.PENDING


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """The folder of outputs."""
    return result_files(tmp_path / "outputs", SOP_CLASSES)


@pytest.fixture
def add_results(database: Database, outputs: Path) -> Callable[..., int]:
    """add_results(destination …): a series with outputs, and deliveries of what each destination wants; its ID."""

    def add(*destinations: Destination, kinds: Sequence[OutputKind] = (REPORT, PAGE, MAPS, PARAMETRIC)) -> int:
        with database.write() as session:
            series = add_series(session, SeriesState.ANALYSED, revision=1)
            for kind in kinds:
                names = tuple(each.name for each in destinations if kind in wanted(each))
                add_output(session, series, kind, f"{kind}.dcm", outputs, names)
            return series.id

    return add


@pytest.fixture
def send_to(database: Database, outputs: Path) -> Callable[[Destination], None]:
    """send_to(destination): send until nothing is due any more."""

    def send(destination: Destination) -> None:
        courier = Courier(destination, "CTIQA", QUICK, database, outputs)
        while courier.send_due():
            pass

    return send


def _destination(archive: Archive, profile: str = "slicer", **objects: bool) -> Destination:
    return Destination(
        name="pacs", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port or 1, profile=profile, objects=objects
    )


def _states(database: Database, series_id: int) -> dict[OutputKind, DeliveryState]:
    with database.read() as session:
        found = session.scalars(select(Delivery).join(Output).where(Output.series_id == series_id))
        return {delivery.output.kind: delivery.state for delivery in found}


def _series_state(database: Database, series_id: int) -> SeriesState:
    with database.read() as session:
        return session.get_one(Series, series_id).state


def _refused(database: Database) -> list[str]:
    with database.read() as session:
        return [each.sop_class_uid for each in refused_classes(session, "pacs")]


def test_in_place_of_a_parametric_map_that_is_refused_the_quality_maps_are_sent(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    with Archive(refused_classes=[ParametricMapStorage]) as archive:
        destination = _destination(archive)
        series_id = add_results(destination)
        assert set(_states(database, series_id)) == {REPORT, PAGE, PARAMETRIC}
        send_to(destination)
    assert _states(database, series_id) == {REPORT: SENT, PAGE: SENT, PARAMETRIC: REFUSED, MAPS: SENT}
    assert _series_state(database, series_id) is SeriesState.DELIVERED
    assert archive.kept_classes.count(MultiFrameTrueColorSecondaryCaptureImageStorage) == 1
    assert _refused(database) == [ParametricMapStorage]


def test_an_answer_that_the_sop_class_is_not_supported_is_the_same_refusal(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    with Archive() as archive:
        archive.answers[ParametricMapStorage] = 0x0122
        destination = _destination(archive)
        series_id = add_results(destination)
        send_to(destination)
    assert _states(database, series_id) == {REPORT: SENT, PAGE: SENT, PARAMETRIC: REFUSED, MAPS: SENT}
    with database.read() as session:
        refused = session.scalars(select(Delivery).where(Delivery.state == REFUSED)).one()
        assert [(one.status, one.answer) for one in refused.tries] == [
            (0x0122, "Failure 0x0122: SOP Class not supported")
        ]


def test_quality_maps_that_go_there_anyway_are_sent_once(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    with Archive(refused_classes=[ParametricMapStorage]) as archive:
        destination = _destination(archive, "ohif")
        series_id = add_results(destination)
        send_to(destination)
    assert _states(database, series_id) == {REPORT: SENT, PAGE: SENT, MAPS: SENT, PARAMETRIC: REFUSED}
    assert len(archive.kept) == 3


def test_quality_maps_that_are_switched_off_are_not_sent_instead(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    with Archive(refused_classes=[ParametricMapStorage]) as archive:
        destination = _destination(archive, quality_maps=False)
        series_id = add_results(destination)
        send_to(destination)
    assert _states(database, series_id) == {REPORT: SENT, PAGE: SENT, PARAMETRIC: REFUSED}
    assert _series_state(database, series_id) is SeriesState.DELIVERED


def test_without_maps_to_show_nothing_is_sent_instead(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    with Archive(refused_classes=[ParametricMapStorage]) as archive:
        destination = _destination(archive)
        series_id = add_results(destination, kinds=(REPORT, PAGE, PARAMETRIC))
        send_to(destination)
    assert _states(database, series_id) == {REPORT: SENT, PAGE: SENT, PARAMETRIC: REFUSED}
    assert _series_state(database, series_id) is SeriesState.DELIVERED


def test_a_destination_that_refuses_both_kinds_of_maps_still_gets_the_report(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    refused = [ParametricMapStorage, MultiFrameTrueColorSecondaryCaptureImageStorage]
    with Archive(refused_classes=refused) as archive:
        destination = _destination(archive)
        series_id = add_results(destination)
        send_to(destination)
    assert _states(database, series_id) == {REPORT: SENT, PAGE: SENT, PARAMETRIC: REFUSED, MAPS: REFUSED}
    assert _series_state(database, series_id) is SeriesState.DELIVERED
    assert set(_refused(database)) == set(refused)


def test_a_series_whose_report_is_refused_is_undelivered(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    with Archive(refused_classes=[ComprehensiveSRStorage]) as archive:
        destination = _destination(archive, "generic-pacs")
        series_id = add_results(destination, kinds=(REPORT, PAGE))
        send_to(destination)
    assert _states(database, series_id) == {REPORT: REFUSED, PAGE: SENT}
    with database.read() as session:
        series = session.get_one(Series, series_id)
        assert (series.state, series.reason) == (SeriesState.UNDELIVERED, "pacs does not take the structured report")


def test_an_archive_that_refuses_everything_ends_at_once_as_undelivered(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    with Archive(refused_classes=list(SOP_CLASSES.values())) as archive:
        destination = _destination(archive)
        series_id = add_results(destination)
        send_to(destination)
    assert set(_states(database, series_id).values()) == {REFUSED}
    assert _series_state(database, series_id) is SeriesState.UNDELIVERED
    assert archive.requests == []


def test_a_destination_that_takes_nothing_of_what_it_was_to_get_makes_the_series_undelivered(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    with Archive(refused_classes=[SecondaryCaptureImageStorage]) as archive:
        destination = _destination(archive, "generic-pacs", sr=False)
        series_id = add_results(destination)
        send_to(destination)
        assert _states(database, series_id) == {PAGE: REFUSED}
    with database.read() as session:
        assert session.get_one(Series, series_id).reason == "pacs takes none of the results"


def test_a_refusal_is_said_once_for_each_sop_class_however_many_series_come(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    log = CapturingLogger()
    monkeypatch.setattr("ctiqa_node.delivery.log", log)
    with Archive(refused_classes=[ParametricMapStorage]) as archive:
        destination = _destination(archive)
        for _ in range(3):
            add_results(destination)
            send_to(destination)
    said = [call.kwargs for call in log.calls if call.method_name == "warning"]
    assert said == [{"destination": "pacs", "sop_class": "Parametric Map Storage", "sends_instead": "quality_maps"}]


def test_a_refused_object_is_sent_when_the_archive_has_learnt_to_take_it(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    with Archive() as archive:
        archive.answers[ParametricMapStorage] = 0x0122
        destination = _destination(archive)
        series_id = add_results(destination)
        send_to(destination)
        archive.answers.clear()
        with database.write() as session:
            retry(session, session.scalars(select(Delivery).where(Delivery.state == REFUSED)).one())
        assert _series_state(database, series_id) is SeriesState.ANALYSED
        assert _refused(database) == []
        send_to(destination)
    assert set(_states(database, series_id).values()) == {SENT}
    assert _series_state(database, series_id) is SeriesState.DELIVERED


def test_a_refused_report_that_is_tried_again_can_make_the_series_delivered(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    with Archive() as archive:
        archive.answers[ComprehensiveSRStorage] = 0x0122
        destination = _destination(archive)
        series_id = add_results(destination)
        send_to(destination)
        assert _series_state(database, series_id) is SeriesState.UNDELIVERED
        archive.answers.clear()
        with database.write() as session:
            retry(session, session.scalars(select(Delivery).where(Delivery.state == REFUSED)).one())
        send_to(destination)
    assert _series_state(database, series_id) is SeriesState.DELIVERED


def test_what_is_taken_later_is_no_longer_refused(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    with Archive() as archive:
        archive.answers[ParametricMapStorage] = 0x0122
        destination = _destination(archive)
        add_results(destination)
        send_to(destination)
        assert _refused(database) == [ParametricMapStorage]
        archive.answers.clear()
        add_results(destination)
        send_to(destination)
    assert _refused(database) == []


def test_an_outage_is_no_refusal(database: Database, add_results: Callable[..., int], outputs: Path) -> None:
    with Archive() as archive:
        destination = _destination(archive)
    series_id = add_results(destination)
    patient = DeliverySection(first_retry_seconds=60, connection_timeout_seconds=2)
    Courier(destination, "CTIQA", patient, database, outputs).send_due()
    assert set(_states(database, series_id).values()) == {PENDING}
    with database.read() as session:
        assert "cannot be reached" in session.scalars(select(Delivery)).all()[0].tries[0].answer


def test_a_refused_delivery_can_be_taken_off_the_list(
    database: Database, add_results: Callable[..., int], send_to: Callable[[Destination], None]
) -> None:
    with Archive(refused_classes=[ComprehensiveSRStorage]) as archive:
        destination = _destination(archive)
        series_id = add_results(destination, kinds=(REPORT, PAGE))
        send_to(destination)
    with database.write() as session:
        drop(session, session.scalars(select(Delivery).where(Delivery.state == REFUSED)).one())
    assert _states(database, series_id)[REPORT] is DeliveryState.DROPPED
    assert _series_state(database, series_id) is SeriesState.UNDELIVERED
