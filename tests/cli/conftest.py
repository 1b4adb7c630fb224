"""Fixtures: a state folder with series in every stage, and a way to run commands on it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_state import (
    ASSESSED,
    FAILED,
    STUDY,
    TOO_SHORT,
    WAITING,
    Ran,
    Run,
    associate,
    body,
    claim,
    received,
    record_results,
)
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from ctiqa_node.cli.app import app
from ctiqa_node.config import SeriesSection
from ctiqa_node.ct.writer import SeriesTags, write_series
from ctiqa_node.db.session import Database
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.ingest import Ingest
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.spool import Spool
from ctiqa_node.state import StateFolder


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A configuration on a state folder of this test's own, with one destination."""
    path = tmp_path / "config.yaml"
    path.write_text(
        f"node: {{state_dir: {tmp_path / 'state'}, port: 11999}}\n"
        "peers: any\n"
        "spool: {min_free_mib: 0}\n"
        "destinations: [{name: pacs, ae_title: PACS, host: 127.0.0.1, port: 1}]\n"
    )
    return path


@pytest.fixture
def run(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run("status", "--json") runs a command on `config_file`, or on another with `config=`."""
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it, and tables would then be cut to it

    def call(*args: str, config: Path | None = None) -> Ran:
        result = CliRunner().invoke(app, ["--config", str(config or config_file), *args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def built_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with four series: assessed, too short, failed, waiting."""
    root = tmp_path_factory.mktemp("node")
    folder = StateFolder(root / "state")
    folder.create()
    upgrade(folder.database)
    database = Database(folder.database)
    ingest = Ingest(database, Spool(folder.spool, 0), SeriesSection(quiet_seconds=0.001))
    association = associate(database)
    for number, (uid, accession, slices) in enumerate(
        [(ASSESSED, "ACC-1", 6), (TOO_SHORT, "ACC-1", 2), (FAILED, "ACC-2", 6), (WAITING, "ACC-3", 6)]
    ):
        tags = SeriesTags(
            study_uid=STUDY, series_uid=uid, accession_number=accession, series_description=f"Chest {number}"
        )
        for path in write_series(body(slices), (5, 4, 4), root / uid, tags=tags):
            ingest.receive(received(path, association))
        time.sleep(0.01)
        ingest.close_quiet_series()
    with database.write() as session:
        record_results(session, claim(session))
    with database.write() as session:
        jobs.give_up(session, claim(session), "the slices have different orientations")
    database.close()
    return folder.root


@pytest.fixture
def state(built_state: Path, config_file: Path) -> StateFolder:
    """A copy of `built_state` where `config_file` points."""
    target = config_file.parent / "state"
    shutil.copytree(built_state, target)
    return StateFolder(target)


@pytest.fixture
def session(state: StateFolder) -> Iterator[Session]:
    """A look into the database of `state`."""
    database = Database(state.database)
    with database.read() as open_session:
        yield open_session
    database.close()
