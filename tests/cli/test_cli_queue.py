from __future__ import annotations

import pytest
from cli_state import FAILED, NO_ANSWER, Run
from sqlalchemy.orm import Session

from ctiqa_node.db.states import DeliveryState, JobState, SeriesState
from ctiqa_node.db.tables import Delivery, Job
from ctiqa_node.state import StateFolder


def test_the_queue_lists_what_waits_and_what_has_failed(run: Run, state: StateFolder) -> None:
    entries = {entry["id"]: entry for entry in run("queue", "ls", "--json").json}
    assert {key: entry["state"] for key, entry in entries.items()} == {
        "J2": "failed", "J3": "todo", "D1": "pending", "D2": "failed",
    }  # fmt: skip
    assert entries["J2"]["series_instance_uid"] == FAILED
    assert entries["J2"]["last_error"] == "the slices have different orientations"
    assert entries["D1"]["last_error"] == NO_ANSWER
    assert entries["D2"]["next_try_at"] is None
    table = run("queue", "ls").stdout
    assert "send sr to pacs" in table
    assert "ACC-3" in table


def test_an_empty_queue_is_said_in_words_and_as_an_empty_list(run: Run) -> None:
    assert run("db", "upgrade").exit_code == 0
    assert "Nothing waits" in run("queue", "ls").stdout
    assert run("queue", "ls", "--json").json == []
    assert "Nothing has failed" in run("queue", "retry", "--all-failed").stdout


def test_everything_that_failed_can_be_taken_up_again_at_once(run: Run, session: Session) -> None:
    ran = run("queue", "retry", "--all-failed")
    assert ran.exit_code == 0
    assert ran.stdout.split("\n")[:2] == ["J2 will be tried again.", "D2 will be tried again."]
    job = session.get_one(Job, 2)
    assert (job.state, job.series.state) == (JobState.TODO, SeriesState.COMPLETE)
    assert session.get_one(Delivery, 2).state is DeliveryState.PENDING


def test_one_refusal_does_not_undo_the_others_and_ends_with_exit_code_1(run: Run, session: Session) -> None:
    ran = run("queue", "retry", "J1", "J99", "nonsense", "j2")
    assert ran.exit_code == 1
    assert "only failed jobs are retried" in ran.stderr
    assert "There is no J99" in ran.stderr
    assert "'nonsense' is no ID" in ran.stderr
    assert session.get_one(Job, 2).state is JobState.TODO


def test_a_dropped_job_ends_and_its_series_is_skipped(run: Run, session: Session) -> None:
    assert run("queue", "drop", "J3").exit_code == 0
    job = session.get_one(Job, 3)
    assert (job.state, job.series.state) == (JobState.DROPPED, SeriesState.SKIPPED)
    assert run("queue", "drop", "J3").exit_code == 1


def test_a_dropped_delivery_is_sent_no_more(run: Run, session: Session) -> None:
    assert run("queue", "drop", "D1").exit_code == 0
    assert session.get_one(Delivery, 1).state is DeliveryState.DROPPED


@pytest.mark.parametrize("args", [["retry"], ["retry", "J2", "--all-failed"], ["drop"]])
def test_what_to_do_without_saying_to_what_is_wrong_usage(run: Run, state: StateFolder, args: list[str]) -> None:
    assert run("queue", *args).exit_code == 2
