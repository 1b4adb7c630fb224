from __future__ import annotations

import sqlite3
from pathlib import Path

from cli_state import NO_ANSWER, Run, as_if_running

from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import AssociationOutcome
from ctiqa_node.db.tables import Association
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.dimse.rejections import Rejections
from ctiqa_node.state import StateFolder


def test_a_node_that_never_ran_is_down_and_the_status_says_how_to_start_it(run: Run) -> None:
    ran = run("status")
    assert ran.exit_code == 2
    assert "ctiqa-node serve" in ran.stdout


def test_a_stopped_node_is_down_but_its_results_and_queue_are_shown(run: Run, state: StateFolder) -> None:
    ran = run("status", "--json")
    assert ran.exit_code == 2
    assert ran.json["verdict"] == 2
    assert ran.json["queue_depth"] == 1
    assert ran.json["series"] == {"analysed": 1, "complete": 1, "failed": 1, "skipped": 1}
    assert ran.json["last_results"][0]["models"][0]["measurements"][0]["value"] == 14.25


def test_a_running_node_with_failures_is_degraded_and_says_why(run: Run, state: StateFolder) -> None:
    with as_if_running(state):
        ran = run("status")
    assert ran.exit_code == 1
    assert "degraded" in ran.stdout
    assert NO_ANSWER in ran.stdout
    assert "1 series failed" in ran.stdout
    assert "CTIQA on 0.0.0.0 port 11999" in ran.stdout
    assert "Noise level 14.2 HU, Dose class 100 % (80 % likely)" in ran.stdout


def test_a_running_node_without_complaints_is_fine_and_shows_who_is_sending(run: Run, config_file: Path) -> None:
    folder = StateFolder(config_file.parent / "state")
    folder.create()
    upgrade(folder.database)
    database = Database(folder.database)
    with database.write() as session:
        session.add(
            Association(
                calling_ae_title="CT_9", called_ae_title="CTIQA", address="10.0.0.9", port=1, opened_at=now(),
                outcome=AssociationOutcome.OPEN, stored=17,
            )
        )  # fmt: skip
    database.close()
    with as_if_running(folder):
        ran = run("status")
    assert ran.exit_code == 0
    assert "fine" in ran.stdout
    assert "CT_9" in ran.stdout
    assert "17" in ran.stdout


def test_a_node_without_peers_is_degraded_and_says_who_was_turned_away(run: Run, state: StateFolder) -> None:
    seen = Rejections()
    for _ in range(3):
        seen.note("10.0.9.9", "ROUTER", "the address belongs to no peer (peers[].addresses)")
    own = state.root.parent / "no-peers.yaml"
    own.write_text(f"node: {{state_dir: {state.root}}}\nspool: {{min_free_mib: 0}}\n")
    with as_if_running(state, rejected=seen.summary()):
        ran = run("status", config=own)
        answer = run("status", "--json", config=own).json
    assert ran.exit_code == 1
    assert "no peer is configured, so nobody may send; name them under peers, or peers: any" in ran.stdout
    assert "0 open, 3 rejected since the start" in ran.stdout
    assert "the address belongs to no peer" in ran.stdout
    (caller,) = answer["rejected"]
    assert (caller["address"], caller["calling_ae_title"], caller["count"]) == ("10.0.9.9", "ROUTER", 3)


def test_a_database_of_another_revision_is_refused_with_what_to_do(run: Run, state: StateFolder) -> None:
    with sqlite3.connect(state.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    for command in (["status"], ["results"], ["why", "ACC-1"], ["queue", "ls"]):
        ran = run(*command)
        assert ran.exit_code == 2, command
        assert "revision 0000" in ran.stderr
        assert "ctiqa-node db upgrade" in ran.stderr


def test_a_file_that_is_no_database_is_refused_in_one_sentence(run: Run, config_file: Path) -> None:
    folder = StateFolder(config_file.parent / "state")
    folder.create()
    folder.database.write_bytes(b"not SQLite, but long enough to be looked at" * 100)
    for command in (["status"], ["results"], ["db", "upgrade"]):
        ran = run(*command)
        assert ran.exit_code == 2, command
        assert "cannot be used" in ran.stderr
        assert "Traceback" not in ran.stderr
