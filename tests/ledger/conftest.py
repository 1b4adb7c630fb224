"""Fixtures: books of nothing, and books of series in every stage."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_books import Books


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """The books of a node that has received nothing yet."""
    made = Books(tmp_path)
    yield made
    made.database.close()


@pytest.fixture(scope="session")
def built_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one series assessed with a localizer left out, one skipped, one to be assessed, one open."""
    books = Books(tmp_path_factory.mktemp("books"))
    books.receive(6, localizer=True)
    books.close()
    books.assess()
    books.receive(2)
    books.close()
    books.receive(5)
    books.close()
    books.receive(3)
    books.database.close()
    return books.folder.root


@pytest.fixture
def full_books(built_books: Path, tmp_path: Path) -> Iterator[Books]:
    """A copy of `built_books`."""
    shutil.copytree(built_books, tmp_path / "state")
    made = Books(tmp_path)
    yield made
    made.database.close()
