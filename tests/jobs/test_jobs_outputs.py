"""What is made of a series, and for whom: the union of what the destinations want, and deliveries only where wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select

from ctiqa_node.analysis import Analyst
from ctiqa_node.config import Config, Destination
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, OutputKind, SeriesState
from ctiqa_node.db.tables import Output, Series
from ctiqa_node.ingest import Ingest
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.report.content import Report
from ctiqa_node.spool import Spool
from ctiqa_node.tasks import MAKERS, Assessing
from support.rows import SOP_CLASSES
from support.slices import ct_datasets, received
from support.waiting import eventually

REPORT, PAGE = OutputKind.STRUCTURED_REPORT, OutputKind.SUMMARY_PAGE
MAPS, PARAMETRIC, PDF = OutputKind.QUALITY_MAPS, OutputKind.PARAMETRIC_MAP, OutputKind.PDF
made: list[OutputKind] = []


def _maker(kind: OutputKind, *, shows: bool = True) -> Callable[[Report], Dataset | None]:
    """A maker of a page that is called another object, or of nothing; `made` tells that it was asked."""
    page = MAKERS[PAGE]

    def make(report: Report) -> Dataset | None:
        made.append(kind)
        dataset = page(report)
        assert dataset is not None
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SOP_CLASSES[kind]
        return dataset if shows else None

    return make


@pytest.fixture
def assess(database: Database, tmp_path: Path) -> Callable[..., None]:
    """assess(destination …): assess a received series for these destinations."""
    spool = Spool(tmp_path / "spool", 0)
    (tmp_path / "outputs").mkdir()
    analyst = Analyst("cpu", ("snr",), 1)

    def run(*destinations: Destination) -> None:
        config = Config(destinations=destinations)
        ingest = Ingest(database, spool, config.series.model_copy(update={"quiet_seconds": 0.01}))
        for dataset in ct_datasets(tmp_path / "ct", 5):
            ingest.receive(received(dataset))
        eventually(ingest.close_quiet_series)
        with database.write() as session:
            job = jobs.claim(session, "worker")
            assert job is not None
        shares: list[float] = []
        Assessing(config, database, spool, tmp_path / "outputs", analyst).analyse(job.id, "worker", shares.append)
        assert shares == sorted(shares)
        assert max(shares) <= 1

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
