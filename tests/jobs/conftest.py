"""A database with its tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ctiqa_node.db.session import Database
from ctiqa_node.db.states import OutputKind
from ctiqa_node.making import MAKERS
from support.desk import Desk, empty_page
from support.rows import new_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path / "ctiqa.sqlite")
    yield database
    database.close()


@pytest.fixture
def desk(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A series to be received, and a worker that draws nothing on its pages."""
    monkeypatch.setitem(MAKERS, OutputKind.SUMMARY_PAGE, empty_page)
    return Desk(database, tmp_path)
