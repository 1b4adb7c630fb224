"""A database with its tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ctiqa_node.db.session import Database
from support.rows import new_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path / "ctiqa.sqlite")
    yield database
    database.close()
