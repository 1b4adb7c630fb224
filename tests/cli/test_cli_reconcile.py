"""`reconcile` as an admin sees it."""

from __future__ import annotations

from cli_state import FAILED, Run
from sqlalchemy import select
from sqlalchemy.orm import Session

from ctiqa_node.db.tables import Instance, Series
from ctiqa_node.state import StateFolder


def test_what_does_not_add_up_is_exit_code_1_and_names_series_and_remedy(run: Run, state: StateFolder) -> None:
    file = next((state.spool / "objects").rglob("*.dcm"))
    file.unlink()
    ran = run("reconcile", "--json")
    assert ran.exit_code == 1
    assert not ran.json["adds_up"]
    (missing,) = (t for t in ran.json["troubles"] if str(file) in t["what"])
    assert missing["kind"] == "file missing"
    assert missing["series_instance_uid"].startswith("2.25.200")
    shown = run("reconcile")
    assert shown.exit_code == 1
    assert "It does not add up" in shown.stdout
    assert missing["to_do"].split(",")[0][:20] in shown.stdout
    assert "the books did not add up" in run("status").stdout


def test_fates_are_told(run: Run, state: StateFolder, session: Session) -> None:
    found = run("reconcile", "--json").json
    assert found["instances"] == 20
    assert found["fates"] == {"waiting": 6, "left out": 6, "skipped": 2, "failed": 6}
    failed = session.scalars(select(Series).where(Series.series_instance_uid == FAILED)).one()
    assert len(session.scalars(select(Instance).where(Instance.series_id == failed.id)).all()) == 6


def test_a_reading_of_a_part_is_not_taken_for_the_whole(run: Run, state: StateFolder) -> None:
    run("reconcile", "--since", "24h")
    assert "not read yet" in run("status").stdout
    run("reconcile")
    assert "not read yet" not in run("status").stdout


def test_a_moment_that_is_none_is_refused(run: Run, state: StateFolder) -> None:
    for text in ("yesterday", "7", "2026-13-01"):
        assert run("reconcile", "--since", text).exit_code == 2
    for text in ("7d", "30m", "2026-11-20", "2026-11-20T08:00"):
        assert run("reconcile", "--since", text).exit_code == 1
