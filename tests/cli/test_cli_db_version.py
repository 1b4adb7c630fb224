from __future__ import annotations

import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path

from cli_state import Run, as_if_running

import ctiqa_node
from ctiqa_node.db.revision import current_and_head
from ctiqa_node.state import StateFolder


def test_db_upgrade_makes_the_tables_and_then_has_nothing_to_do(run: Run, config_file: Path) -> None:
    database = StateFolder(config_file.parent / "state").database
    first = run("db", "upgrade")
    assert first.exit_code == 0
    found, head = current_and_head(database)
    assert found == head
    assert f"none → {head}" in first.stdout
    second = run("db", "upgrade")
    assert second.exit_code == 0
    assert "nothing to do" in second.stdout
    assert run("results", "--json").json == []


def test_db_upgrade_refuses_a_database_of_a_newer_version(run: Run, state: StateFolder) -> None:
    with sqlite3.connect(state.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    ran = run("db", "upgrade")
    assert ran.exit_code == 2
    assert "newer version" in ran.stderr


def test_db_upgrade_leaves_the_database_of_a_running_node_alone(run: Run, state: StateFolder) -> None:
    with sqlite3.connect(state.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    with as_if_running(state):
        ran = run("db", "upgrade")
    assert ran.exit_code == 2
    assert "Another node is running" in ran.stderr


def test_version_names_the_program_python_the_libraries_and_the_tables(run: Run) -> None:
    found = run("version", "--json").json
    assert found["ctiqa_node"] == ctiqa_node.__version__
    assert found["python"] == platform.python_version()
    assert found["libraries"]["torch"] == version("torch")
    assert found["libraries"]["pynetdicom"] == version("pynetdicom")
    assert found["database_revision"] in run("version").stdout
