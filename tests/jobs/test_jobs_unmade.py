"""What cannot be made holds up neither values nor other objects; and what a second try of a revision makes."""

from __future__ import annotations

import errno

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select

from ctiqa_node.analysis import Analyst
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, JobState, OutputKind, SeriesState
from ctiqa_node.db.tables import Job, Output, Series, UnmadeOutput
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.making import MAKERS
from ctiqa_node.report.content import Progress, Report
from ctiqa_node.result_values import SeriesResult
from ctiqa_node.results import latest_results
from ctiqa_node.settling import settle
from support.desk import Desk, breaks, deliveries, maker_of, to

REPORT, PAGE, PDF = OutputKind.STRUCTURED_REPORT, OutputKind.SUMMARY_PAGE, OutputKind.PDF


class Killed(BaseException):
    """What a signal would do to the worker: nothing after it is done."""


def _result(database: Database) -> SeriesResult:
    with database.read() as session:
        (result,) = latest_results(session, 5)
        return result


def _uids(database: Database) -> dict[OutputKind, str]:
    with database.read() as session:
        return {output.kind: output.sop_instance_uid for output in session.scalars(select(Output))}


def _send_all(database: Database) -> None:
    with database.write() as session:
        for output in session.scalars(select(Output)):
            for delivery in output.deliveries:
                delivery.state = DeliveryState.SENT
            settle(session, output.series)


def test_an_object_that_cannot_be_made_is_noted_and_holds_up_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MAKERS, PDF, maker_of(PDF))
    monkeypatch.setitem(MAKERS, PAGE, breaks(ValueError("no such colour")))
    desk.receive(to("pacs", pdf=True))
    desk.work()
    assert deliveries(desk.database) == {REPORT: {"pacs"}, PDF: {"pacs"}}
    result = _result(desk.database)
    assert (result.state, result.models[0].model) == ("analysed", "snr")
    assert [(each.kind, each.reason) for each in result.not_made] == [("summary", "ValueError: no such colour")]
    _send_all(desk.database)
    assert _result(desk.database).state == "delivered"


def test_a_full_disk_is_no_fault_of_an_object_whose_next_try_makes_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.receive(to("pacs"))
    with monkeypatch.context() as patch:
        patch.setitem(MAKERS, PAGE, breaks(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            desk.work()
    desk.give_back(fatal=False)
    desk.work()
    assert deliveries(desk.database) == {REPORT: {"pacs"}, PAGE: {"pacs"}}
    assert _result(desk.database).not_made == []


def test_without_its_structured_report_a_series_fails_but_its_values_are_kept_and_the_rest_is_sent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(MAKERS, REPORT, breaks(ValueError("no such code")))
        desk.receive(to("pacs"))
        job_id = desk.work()
    said = "the structured report could not be made: ValueError: no such code"
    result = _result(desk.database)
    assert (result.state, result.reason, len(result.models[0].measurements)) == ("failed", said, 1)
    assert deliveries(desk.database) == {PAGE: {"pacs"}}
    with desk.database.read() as session:
        job = session.get_one(Job, job_id)
        assert (job.state, job.error) == (JobState.FAILED, said)
    before = _uids(desk.database)
    _send_all(desk.database)

    with desk.database.write() as session:
        jobs.retry(session, session.get_one(Job, job_id))
    desk.work()
    result = _result(desk.database)
    assert (result.state, result.revision, result.not_made) == ("analysed", 1, [])
    assert _uids(desk.database).items() > before.items()
    assert {each.kind: each.deliveries["pacs"] for each in result.outputs} == {"summary": "sent", "sr": "pending"}
    _send_all(desk.database)
    assert _result(desk.database).state == "delivered"


@pytest.mark.parametrize("fatal", [True, False])
def test_an_object_that_kills_the_worker_is_left_out_the_next_time_and_one_that_was_cut_short_is_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, fatal: bool
) -> None:
    desk.receive(to("pacs", pdf=True))
    with monkeypatch.context() as patch:
        patch.setitem(MAKERS, PAGE, breaks(Killed()))
        with pytest.raises(Killed):
            desk.work()
    assert _result(desk.database).models[0].measurements
    assert _result(desk.database).not_made == []
    report = _uids(desk.database)
    desk.give_back(fatal=fatal)
    monkeypatch.setitem(MAKERS, REPORT, breaks(AssertionError("made twice")))
    monkeypatch.setitem(MAKERS, PDF, maker_of(PDF))
    desk.work()
    result = _result(desk.database)
    assert (result.state, result.revision) == ("analysed", 1)
    assert [each.kind for each in result.outputs] == (["sr", "pdf"] if fatal else ["sr", "summary", "pdf"])
    assert [(each.kind, each.reason) for each in result.not_made] == (
        [("summary", "the worker died: signal SIGKILL")] if fatal else []
    )
    assert _uids(desk.database)[REPORT] == report[REPORT]
    with desk.database.read() as session:
        assert len(session.scalars(select(UnmadeOutput)).all()) == fatal


def test_other_models_after_a_try_that_was_cut_short_make_another_revision(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.receive(to("pacs"))
    with monkeypatch.context() as patch:
        patch.setitem(MAKERS, PAGE, breaks(Killed()))
        with pytest.raises(Killed):
            desk.work()
    first = _uids(desk.database)[REPORT]
    desk.give_back(fatal=False)
    desk.analyst = Analyst("cpu", ("snr", "brisque"), 1)
    desk.work()
    result = _result(desk.database)
    assert (result.state, result.revision) == ("analysed", 2)
    assert [each.kind for each in result.outputs] == ["sr", "summary"]
    with desk.database.read() as session:
        old, *new = session.scalars(select(Output).order_by(Output.id))
        assert (old.sop_instance_uid, old.deliveries[0].state) == (first, DeliveryState.SUPERSEDED)
        (report,) = [dcmread(desk.outputs / each.path) for each in new if each.kind is REPORT]
    (series,) = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first != report.SOPInstanceUID


def test_a_late_slice_makes_a_revision_whose_every_object_names_the_last_that_there_was(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.receive(to("pacs"))
    with monkeypatch.context() as patch:
        patch.setitem(MAKERS, PAGE, breaks(ValueError("no ink")))  # so that the next has no page to name
        desk.work()
    for uid in ("1.2.3.4.1", "1.2.3.4.2"):
        desk.receive_late(uid)
        desk.work()
    with desk.database.read() as session:
        made = session.scalars(select(Output).order_by(Output.id)).all()
        files = {(each.revision, each.kind): dcmread(desk.outputs / each.path) for each in made}
        assert {each.state for each in made[0].deliveries} == {DeliveryState.SUPERSEDED}
    assert sorted(files) == [(1, REPORT), (2, REPORT), (2, PAGE), (3, REPORT), (3, PAGE)]
    assert "ReferencedImageSequence" not in files[2, PAGE]
    (image,) = files[3, PAGE].ReferencedImageSequence
    assert image.ReferencedSOPInstanceUID == files[2, PAGE].SOPInstanceUID


def test_an_object_of_a_series_that_moved_on_leaves_no_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    page = MAKERS[PAGE]

    def make(report: Report, progress: Progress) -> Dataset | None:
        with desk.database.write() as session:
            series = session.scalars(select(Series)).one()
            series.state, series.revision = SeriesState.STALE, 2
        return page(report, progress)

    monkeypatch.setitem(MAKERS, PAGE, make)
    desk.receive(to("pacs"))
    with pytest.raises(jobs.LostJob):
        desk.work()
    assert [path.name for path in desk.outputs.rglob("*.dcm")] == ["1-sr.dcm"]


def test_a_series_whose_objects_were_all_sent_while_the_last_was_made_is_delivered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(report: Report, progress: Progress) -> Dataset | None:
        _send_all(desk.database)

    monkeypatch.setitem(MAKERS, PDF, make)
    desk.receive(to("pacs", pdf=True))
    desk.work()
    assert _result(desk.database).state == "delivered"
