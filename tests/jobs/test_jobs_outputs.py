"""What is made of a series, and for whom: the union of what the destinations want, and deliveries only where wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import select

from ctiqa_node.config import Destination
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import OutputKind, SeriesState
from ctiqa_node.db.tables import Output, Series
from ctiqa_node.making import MAKERS
from support.desk import Desk, deliveries, made, maker_of, to

REPORT, PAGE = OutputKind.STRUCTURED_REPORT, OutputKind.SUMMARY_PAGE
MAPS, PARAMETRIC, PDF = OutputKind.QUALITY_MAPS, OutputKind.PARAMETRIC_MAP, OutputKind.PDF


@pytest.fixture
def assess(desk: Desk) -> Callable[..., None]:
    """assess(destination …): assess a received series for these destinations."""

    def run(*destinations: Destination) -> None:
        desk.receive(*destinations)
        desk.work()

    return run


@pytest.fixture
def with_makers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makers of maps, as numbers and as pictures, and of a PDF that never has anything to show."""
    made.clear()
    for kind in (MAPS, PARAMETRIC):
        monkeypatch.setitem(MAKERS, kind, maker_of(kind))
    monkeypatch.setitem(MAKERS, PDF, maker_of(PDF, shows=False))


def test_every_kind_has_amaker_of() -> None:
    assert list(MAKERS) == list(OutputKind)


@pytest.mark.usefixtures("with_makers")
def test_each_destination_gets_its_own_objects_and_what_may_replace_one_is_made(
    database: Database, assess: Callable[..., None], tmp_path: Path
) -> None:
    assess(to("pacs", summary=False), to("research", "slicer", pdf=True))
    assert deliveries(database) == {
        REPORT: {"pacs", "research"}, PAGE: {"research"}, PARAMETRIC: {"research"}, MAPS: set(),
    }  # fmt: skip
    assert sorted(made) == sorted([MAPS, PARAMETRIC, PDF])
    with database.read() as session:
        for output in session.scalars(select(Output)):
            stored = dcmread(tmp_path / "outputs" / output.path)
            assert (stored.SOPClassUID, stored.SOPInstanceUID) == (output.sop_class_uid, output.sop_instance_uid)


@pytest.mark.usefixtures("with_makers")
def test_what_nobody_wants_is_not_made(database: Database, assess: Callable[..., None]) -> None:
    assess(to("pacs"))
    assert deliveries(database) == {REPORT: {"pacs"}, PAGE: {"pacs"}}
    assert made == []


def test_without_destinations_report_and_page_are_made_all_the_same(
    database: Database, assess: Callable[..., None]
) -> None:
    assess()
    assert deliveries(database) == {REPORT: set(), PAGE: set()}
    with database.read() as session:
        assert session.scalars(select(Series)).one().state is SeriesState.ANALYSED
