from __future__ import annotations

import csv
from io import StringIO
from typing import Any

import pytest
from cli_state import ASSESSED, FAILED, NO_ANSWER, STUDY, TOO_SHORT, WAITING, Run
from sqlalchemy import select

from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Delivery, DeliveryTry, Series
from ctiqa_node.state import StateFolder


def test_results_lists_every_series_newest_first_with_values_or_the_reason(run: Run, state: StateFolder) -> None:
    ran = run("results")
    assert ran.exit_code == 0
    lines = ran.stdout.splitlines()
    places = {name: next(i for i, line in enumerate(lines) if name in line) for name in ("Chest 0", "Chest 3")}
    assert places["Chest 3"] < places["Chest 0"]
    assert "Noise level 14.2 HU" in lines[places["Chest 0"]]
    assert "only 2 slices" in ran.stdout
    assert "different orientations" in ran.stdout


def test_results_as_json_can_be_narrowed_by_state_and_number(run: Run, state: StateFolder) -> None:
    assert [each["series_instance_uid"] for each in run("results", "--json").json] == [
        WAITING, FAILED, TOO_SHORT, ASSESSED,
    ]  # fmt: skip
    assert [each["series_instance_uid"] for each in run("results", "--state", "failed", "--json").json] == [FAILED]
    assert len(run("results", "--limit", "2", "--json").json) == 2


def test_the_list_leaves_the_slices_out_unless_they_are_asked_for(run: Run, state: StateFolder) -> None:
    def slices(*args: str) -> list[object]:
        return [value for series in run(*args).json for model in series["models"] for value in model["slices"]]

    assert slices("results", "--json") == []
    assert len(slices("results", "--slices", "--json")) == 1


@pytest.mark.parametrize(
    ("named", "expected"),
    [(ASSESSED, 1), ("ACC-1", 2), (STUDY, 4), ("SIMULATED-1", 4)],
)
def test_a_series_is_found_by_its_uid_its_study_its_accession_number_or_its_patient(
    run: Run, state: StateFolder, named: str, expected: int
) -> None:
    assert len(run("results", named, "--json").json) == expected


def test_one_series_is_shown_with_its_values_provenance_objects_and_the_reason_of_a_model_without_value(
    run: Run, state: StateFolder
) -> None:
    ran = run("results", ASSESSED)
    assert ran.exit_code == 0
    for expected in (
        "14.2 HU", "100 % (80 % likely)", "because no varying tissue", "0123456789ab", "2.25.3000; pacs: pending",
    ):  # fmt: skip
        assert expected in ran.stdout
    assert "0123456789abc" not in ran.stdout


def test_the_values_of_slices_are_shown_with_their_sop_instance_when_asked_for(run: Run, state: StateFolder) -> None:
    uid = run("results", ASSESSED, "--json").json[0]["models"][0]["slices"][0]["sop_instance_uid"]
    assert uid not in run("results", ASSESSED).stdout
    assert uid in run("results", ASSESSED, "--slices").stdout


def test_the_json_holds_what_the_report_says_beside_the_numbers(run: Run, state: StateFolder) -> None:
    (found,) = run("results", ASSESSED, "--json").json
    assert (found["completeness"], found["missing_slices"], found["slices"]) == ("gaps(2)", 2, 6)
    assert found["window_agreement"] == "mismatch"
    assert found["findings"] == [{"code": "uneven-gaps", "sentence": "Slices lie 3.00 to 9.00 mm apart."}]
    assert [(n["slice_index"], n["role"]) for n in found["notable_slices"]] == [(0, "only"), (3, "middle")]
    reasons = {model["model"]: model["reason_code"] for model in found["models"]}
    assert reasons == {"noise_level": None, "n2q": None, "snr": "too-little"}
    assert "Slices lie 3.00 to 9.00 mm apart." in run("results", ASSESSED).stdout


def _read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text)))


def test_the_csv_has_a_line_for_each_value_of_the_json(run: Run, state: StateFolder) -> None:
    lines = _read_csv(run("results", ASSESSED, "--csv").stdout)
    (found,) = run("results", ASSESSED, "--json").json

    def of(kind: str, *names: str) -> list[tuple[str, ...]]:
        return [tuple(line[name] for name in names) for line in lines if line["kind"] == kind]

    def texts(items: list[dict[str, Any]], *names: str) -> list[tuple[str, ...]]:
        return [tuple("" if each[name] is None else str(each[name]) for name in names) for each in items]

    for kind, key, names in (
        ("measurement", "measurements", ("name", "value", "unit", "quality_category")),
        ("class", "classifications", ("name", "label", "probability")),
        ("slice", "slices", ("name", "value", "unit", "slice_index", "sop_instance_uid", "frame_number")),
    ):
        expected = texts([each for model in found["models"] for each in model[key]], *names)
        assert of(kind, *names) == expected
        assert expected
    assert of("not_scored", "model", "model_reason", "reason_code") == [("snr", "no varying tissue", "too-little")]
    assert of("finding", "name", "text") == [("uneven-gaps", "Slices lie 3.00 to 9.00 mm apart.")]
    assert of("notable_slice", "name", "slice_index") == [("only", "0"), ("middle", "3")]
    assert of("output", "name") == [("sr",), ("summary",)]
    assert {line["completeness"] for line in lines} == {"gaps(2)"}
    assert {line["weights_sha256"] for line in lines if line["model"]} == {"0123456789abcdef" * 4}


def test_the_csv_has_a_line_for_a_series_without_values(run: Run, state: StateFolder) -> None:
    lines = _read_csv(run("results", "--csv").stdout)
    assert {line["series_instance_uid"] for line in lines} == {WAITING, FAILED, TOO_SHORT, ASSESSED}
    (failed,) = [line for line in lines if line["series_instance_uid"] == FAILED]
    assert (failed["kind"], failed["state"]) == ("series", "failed")
    assert "different orientations" in failed["reason"]


def test_what_a_peer_sent_is_no_formula_in_the_csv(run: Run, state: StateFolder) -> None:
    database = Database(state.database)
    with database.write() as session:
        for series in session.scalars(select(Series)):
            series.description = '=HYPERLINK("http://x","y")'
    database.close()
    assert {line["description"] for line in _read_csv(run("results", "--csv").stdout)} == {
        """'=HYPERLINK("http://x","y")"""
    }


def test_json_and_csv_exclude_each_other(run: Run, state: StateFolder) -> None:
    ran = run("results", "--json", "--csv")
    assert ran.exit_code == 2
    assert "exclude each other" in ran.stderr


def test_an_unknown_name_is_answered_with_a_sentence_and_exit_code_1(run: Run, state: StateFolder) -> None:
    for command in ("results", "why"):
        ran = run(command, "NOT-THERE")
        assert ran.exit_code == 1
        assert "'NOT-THERE' is known" in ran.stderr
        assert ran.stdout == ""


def test_before_the_first_start_the_commands_say_that_no_node_has_run(run: Run) -> None:
    for command in (["results"], ["why", "X"], ["queue", "ls"], ["queue", "retry", "J1"], ["queue", "drop", "D1"]):
        ran = run(*command)
        assert ran.exit_code == 2, command
        assert "No node has run" in ran.stderr


def test_the_story_of_a_series_tells_who_sent_it_what_was_decided_and_each_answer(run: Run, state: StateFolder) -> None:
    told = run("why", ASSESSED).stdout
    for expected in ("6 instances from CT_1 at 10.0.0.7", "receiving → complete", "cannot be reached", "not scored"):
        assert expected in told
    assert "only 2 slices; series.min_slices is 5" in run("why", TOO_SHORT).stdout


def test_stories_as_json_are_in_the_order_of_time_one_for_each_series(run: Run, state: StateFolder) -> None:
    stories = run("why", "ACC-1", "--json").json
    assert [story["series"]["series_instance_uid"] for story in stories] == [ASSESSED, TOO_SHORT]
    times = [happening["at"] for happening in stories[0]["happenings"]]
    assert times == sorted(times)
    assert len(times) > 5


def test_tries_that_fail_for_days_are_folded_in_the_table_and_complete_in_the_json(
    run: Run, state: StateFolder
) -> None:
    database = Database(state.database)
    with database.write() as session:
        delivery = session.get_one(Delivery, 1)
        delivery.tries.extend(DeliveryTry(at=now(), status=None, answer=NO_ANSWER) for _ in range(40))
    database.close()
    told = run("why", ASSESSED).stdout
    assert told.count("sr to pacs") == 2
    assert "39 times more in between" in told
    happenings = run("why", ASSESSED, "--json").json[0]["happenings"]
    assert sum("sr to pacs" in happening["what"] for happening in happenings) == 41


def test_what_a_peer_wrote_is_neither_markup_nor_sent_to_the_terminal(run: Run, state: StateFolder) -> None:
    database = Database(state.database)
    with database.write() as session:
        series = session.scalars(select(Series).where(Series.series_instance_uid == ASSESSED)).one()
        series.description = "[bold]Thorax[/nonsense] \x1b]0;title\x07"
    database.close()
    for command in (["results"], ["results", ASSESSED], ["why", ASSESSED], ["status"]):
        shown = run(*command).stdout
        assert "[bold]Thorax[/nonsense]" in shown, command
        assert "\x1b]0" not in shown
    assert run("results", ASSESSED, "--json").json[0]["description"].endswith("\x1b]0;title\x07")
