"""What is made of a series, and for whom: the union of what the destinations want, and deliveries only where wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select

from ctiqa_node.analysis import Analyst
from ctiqa_node.config import Config, Destination
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, JobState, OutputKind, SeriesState
from ctiqa_node.db.tables import Job, Output, Series, UnmadeOutput, now
from ctiqa_node.ingest import Ingest
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.making import MAKERS, Maker, uid_of
from ctiqa_node.report.content import Progress, Report
from ctiqa_node.report.secondary_capture import secondary_capture
from ctiqa_node.results import SeriesResult, latest_results
from ctiqa_node.settling import settle
from ctiqa_node.spool import Spool
from ctiqa_node.tasks import Assessing
from support.rows import SOP_CLASSES
from support.slices import ct_datasets, received
from support.waiting import eventually

REPORT, PAGE = OutputKind.STRUCTURED_REPORT, OutputKind.SUMMARY_PAGE
MAPS, PARAMETRIC, PDF = OutputKind.QUALITY_MAPS, OutputKind.PARAMETRIC_MAP, OutputKind.PDF
made: list[OutputKind] = []


def _empty_page(report: Report, progress: Progress) -> Dataset:
    return secondary_capture(report, np.zeros((8, 8, 3), dtype=np.uint8))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn on the pages: that takes longer than all the rest."""
    monkeypatch.setitem(MAKERS, PAGE, _empty_page)


def _maker(kind: OutputKind, *, shows: bool = True) -> Maker:
    """A maker of a page that is called another object, or of nothing; `made` tells that it was asked."""
    page = MAKERS[PAGE]

    def make(report: Report, progress: Progress) -> Dataset | None:
        made.append(kind)
        dataset = page(report, progress)
        assert dataset is not None
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SOP_CLASSES[kind]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid_of(report, kind)
        return dataset if shows else None

    return make


def _breaks(error: BaseException) -> Maker:
    def make(report: Report, progress: Progress) -> Dataset | None:
        raise error

    return make


class Desk:
    """A received series, and a worker that does its job when asked to."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.outputs = folder / "outputs"
        self.outputs.mkdir()
        self.config = Config()
        self._folder = folder
        self._spool = Spool(folder / "spool", 0)
        self.analyst = Analyst("cpu", ("snr",), 1)

    def receive(self, *destinations: Destination) -> None:
        """A series of five slices that is complete, to be told to these destinations."""
        self.config = Config(destinations=destinations)
        ingest = Ingest(self.database, self._spool, self.config.series.model_copy(update={"quiet_seconds": 0.01}))
        for dataset in ct_datasets(self._folder / "ct", 5):
            ingest.receive(received(dataset))
        eventually(ingest.close_quiet_series)

    def receive_late(self, uid: str) -> None:
        """Another slice of the same series, 100 mm beyond the others."""
        ingest = Ingest(self.database, self._spool, self.config.series.model_copy(update={"quiet_seconds": 0.01}))
        dataset = dcmread(sorted((self._folder / "ct").iterdir())[0])
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.ImagePositionPatient = [*dataset.ImagePositionPatient[:2], 100.0 + float(uid[-1]) * 2.5]
        ingest.receive(received(dataset))
        eventually(ingest.close_quiet_series)

    def work(self) -> int:
        """Do the job that waits; its ID."""
        with self.database.write() as session:
            job = jobs.claim(session, "worker")
            assert job is not None
        shares: list[float] = []
        Assessing(self.config, self.database, self._spool, self.outputs, self.analyst).analyse(
            job.id, "worker", shares.append
        )
        assert shares == sorted(shares)
        assert max(shares) == 1
        return job.id

    def give_back(self, *, fatal: bool) -> None:
        """What the supervisor does when the worker is dead, or was stopped; the next try may begin at once."""
        with self.database.write() as session:
            (job,) = jobs.in_work(session)
            jobs.give_back(session, job, "the worker died: signal SIGKILL", 3, fatal=fatal)
            job.not_before = now()


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> Desk:
    return Desk(database, tmp_path)


@pytest.fixture
def assess(desk: Desk) -> Callable[..., None]:
    """assess(destination …): assess a received series for these destinations."""

    def run(*destinations: Destination) -> None:
        desk.receive(*destinations)
        desk.work()

    return run


def _to(name: str, profile: str = "generic-pacs", **objects: bool) -> Destination:
    return Destination(name=name, ae_title="A", host="h", port=1, profile=profile, objects=objects)


def _deliveries(database: Database) -> dict[OutputKind, set[str]]:
    with database.read() as session:
        outputs = session.scalars(select(Output)).all()
        assert {each.state for output in outputs for each in output.deliveries} <= {DeliveryState.PENDING}
        return {output.kind: {each.destination for each in output.deliveries} for output in outputs}


@pytest.fixture
def with_makers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makers of maps, as numbers and as pictures, and of a PDF that never has anything to show."""
    made.clear()
    for kind in (MAPS, PARAMETRIC):
        monkeypatch.setitem(MAKERS, kind, _maker(kind))
    monkeypatch.setitem(MAKERS, PDF, _maker(PDF, shows=False))


def test_every_kind_has_a_maker() -> None:
    assert list(MAKERS) == list(OutputKind)


@pytest.mark.usefixtures("with_makers")
def test_each_destination_gets_its_own_objects_and_what_may_replace_one_is_made(
    database: Database, assess: Callable[..., None], tmp_path: Path
) -> None:
    assess(_to("pacs", summary=False), _to("research", "slicer", pdf=True))
    assert _deliveries(database) == {
        REPORT: {"pacs", "research"}, PAGE: {"research"}, PARAMETRIC: {"research"}, MAPS: set(),
    }  # fmt: skip
    assert sorted(made) == sorted([MAPS, PARAMETRIC, PDF])
    with database.read() as session:
        for output in session.scalars(select(Output)):
            stored = dcmread(tmp_path / "outputs" / output.path)
            assert (stored.SOPClassUID, stored.SOPInstanceUID) == (output.sop_class_uid, output.sop_instance_uid)


@pytest.mark.usefixtures("with_makers")
def test_what_nobody_wants_is_not_made(database: Database, assess: Callable[..., None]) -> None:
    assess(_to("pacs"))
    assert _deliveries(database) == {REPORT: {"pacs"}, PAGE: {"pacs"}}
    assert made == []


def test_without_destinations_report_and_page_are_made_all_the_same(
    database: Database, assess: Callable[..., None]
) -> None:
    assess()
    assert _deliveries(database) == {REPORT: set(), PAGE: set()}
    with database.read() as session:
        assert session.scalars(select(Series)).one().state is SeriesState.ANALYSED


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
    monkeypatch.setitem(MAKERS, PDF, _maker(PDF))
    monkeypatch.setitem(MAKERS, PAGE, _breaks(ValueError("no such colour")))
    desk.receive(_to("pacs", pdf=True))
    desk.work()
    assert _deliveries(desk.database) == {REPORT: {"pacs"}, PDF: {"pacs"}}
    result = _result(desk.database)
    assert (result.state, result.models[0].model) == ("analysed", "snr")
    assert [(each.kind, each.reason) for each in result.not_made] == [("summary", "ValueError: no such colour")]
    _send_all(desk.database)
    assert _result(desk.database).state == "delivered"


def test_without_its_structured_report_a_series_fails_but_its_values_are_kept_and_the_rest_is_sent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(MAKERS, REPORT, _breaks(ValueError("no such code")))
        desk.receive(_to("pacs"))
        job_id = desk.work()
    said = "the structured report could not be made: ValueError: no such code"
    result = _result(desk.database)
    assert (result.state, result.reason, len(result.models[0].measurements)) == ("failed", said, 1)
    assert _deliveries(desk.database) == {PAGE: {"pacs"}}
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
    desk.receive(_to("pacs", pdf=True))
    with monkeypatch.context() as patch:
        patch.setitem(MAKERS, PAGE, _breaks(Killed()))
        with pytest.raises(Killed):
            desk.work()
    assert _result(desk.database).models[0].measurements
    assert _result(desk.database).not_made == []
    report = _uids(desk.database)
    desk.give_back(fatal=fatal)
    monkeypatch.setitem(MAKERS, REPORT, _breaks(AssertionError("made twice")))
    monkeypatch.setitem(MAKERS, PDF, _maker(PDF))
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
    desk.receive(_to("pacs"))
    with monkeypatch.context() as patch:
        patch.setitem(MAKERS, PAGE, _breaks(Killed()))
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
    desk.receive(_to("pacs"))
    with monkeypatch.context() as patch:
        patch.setitem(MAKERS, PAGE, _breaks(ValueError("no ink")))  # so that the next has no page to name
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
    desk.receive(_to("pacs"))
    with pytest.raises(jobs.LostJob):
        desk.work()
    assert [path.name for path in desk.outputs.rglob("*.dcm")] == ["1-sr.dcm"]


def test_a_series_whose_objects_were_all_sent_while_the_last_was_made_is_delivered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(report: Report, progress: Progress) -> Dataset | None:
        _send_all(desk.database)

    monkeypatch.setitem(MAKERS, PDF, make)
    desk.receive(_to("pacs", pdf=True))
    desk.work()
    assert _result(desk.database).state == "delivered"
