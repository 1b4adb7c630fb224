"""What an admin sees of objects that could not be made, or were removed."""

from __future__ import annotations

import csv
from io import StringIO

import pytest
from cli_state import ASSESSED, FAILED, Run
from sqlalchemy import select

from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import OutputKind, OutputState
from ctiqa_node.db.tables import AssessmentRow, Output, Series, UnmadeOutput
from ctiqa_node.state import StateFolder

WHY = "ValueError: no such colour"


@pytest.fixture(autouse=True)
def _unmade(state: StateFolder) -> None:
    """The maps of one series failed; its PDF is being made; and another one has values, but no report."""
    database = Database(state.database)
    with database.write() as session:
        assessed, failed = (
            session.scalars(select(Series).where(Series.series_instance_uid == uid)).one() for uid in (ASSESSED, FAILED)
        )
        for series, kind, reason in (
            (assessed, OutputKind.QUALITY_MAPS, WHY),
            (assessed, OutputKind.PDF, None),
            (failed, OutputKind.STRUCTURED_REPORT, WHY),
        ):
            session.add(UnmadeOutput(series=series, revision=1, kind=kind, reason=reason, at=now()))
        session.add(
            AssessmentRow(
                series=failed, revision=1, model="snr", version="1", trained_on="nothing", status="scored",
                device="cpu", seconds=1, assessed_at=now(),
            )
        )  # fmt: skip
    database.close()


def test_the_results_and_the_story_name_it_with_the_reason_but_not_what_is_being_made(run: Run) -> None:
    (found,) = run("results", ASSESSED, "--json").json
    assert [(each["kind"], each["reason"]) for each in found["not_made"]] == [("quality_maps", WHY)]
    assert f"Not made    quality_maps: {WHY}" in run("results", ASSESSED).stdout
    lines = csv.DictReader(StringIO(run("results", ASSESSED, "--csv").stdout))
    assert [(x["name"], x["text"]) for x in lines if x["kind"] == "not_made"] == [("quality_maps", WHY)]
    told = run("why", ASSESSED, "--json").json[0]["happenings"]
    assert [x["detail"] for x in told if "could not be made" in x["what"]] == [WHY]


def test_a_failed_series_is_listed_with_its_reason_even_when_it_has_values(run: Run) -> None:
    assert "different orientations" in " ".join(run("results", "--state", "failed").stdout.split())


def test_status_and_results_tell_what_was_removed(run: Run, state: StateFolder) -> None:
    database = Database(state.database)
    with database.write() as session:
        output = session.get_one(Output, 1)
        output.state, output.removed_at = OutputState.REMOVED, now()
    database.close()
    told = run("status", "--json").json
    assert (told["outputs_kept"], told["outputs_removed"], told["outputs_keep_days"]) == (1, 1, 30)
    assert "1 object kept, for 30 days after the last delivery; 1 removed" in run("status").stdout
    assert "pacs: pending; removed here 20" in run("results", ASSESSED).stdout
    (found,) = run("results", ASSESSED, "--json").json
    assert [each["removed_at"] is None for each in found["outputs"]] == [False, True]
    lines = csv.DictReader(StringIO(run("results", ASSESSED, "--csv").stdout))
    assert ["removed here" in x["text"] for x in lines if x["kind"] == "output"] == [True, False]


def test_the_status_counts_them_by_kind(run: Run) -> None:
    assert run("status", "--json").json["not_made"] == {"quality_maps": 1, "sr": 1}
    assert "quality_maps of 1 series, sr of 1 series" in run("status").stdout
