"""Backups: sound copies, no more than asked for, and a way back that loses nothing that was received since."""

from __future__ import annotations

import signal
import sqlite3
import stat
from pathlib import Path

import pytest
from ledger_books import Books
from pydicom import dcmread
from sqlalchemy import func, select
from typer.testing import CliRunner

from ctiqa_node.cli.app import app
from ctiqa_node.config import Config, NodeSection, WorkerSection
from ctiqa_node.ct.writer import SeriesTags
from ctiqa_node.db.books import AuditEntry
from ctiqa_node.db.integrity import damage
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Instance
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.errors import RetryLater, StateError
from ctiqa_node.ledger import backup as backups
from ctiqa_node.ledger.backup import backups_of, look_through, make_backup, require_sound, restore
from ctiqa_node.ledger.purge import Target, purge
from ctiqa_node.ledger.rounds import Rounds
from ctiqa_node.node import Node
from ctiqa_node.state import NodeLock, StateFolder
from support.slices import received


@pytest.fixture
def kept(tmp_path: Path) -> Books:
    """Books whose tables Alembic made, with one series."""
    (tmp_path / "state").mkdir()
    upgrade(tmp_path / "state" / "ctiqa.sqlite")
    books = Books(tmp_path)
    books.receive(5, SeriesTags(patient_id="DOE-4711"))
    return books


def spoil(path: Path) -> None:
    """Overwrite a page in the middle of a file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 8192 * 4096
    content[middle : middle + 4096] = b"\xa5" * 4096
    path.write_bytes(content)


def whole_database(books: Books) -> None:
    """Close it, so that its log is played in."""
    books.database.close()


def count(path: Path) -> int:
    database = Database(path)
    with database.read() as session:
        found = session.scalar(select(func.count(Instance.id))) or 0
    database.close()
    return found


def test_a_backup_is_a_sound_copy_for_the_owner_alone(kept: Books) -> None:
    kept.folder.backups.mkdir(mode=0o700)
    (kept.folder.backups / "ctiqa-20260101-030000.part").write_bytes(b"killed in its middle")
    made = make_backup(kept.folder, 7, 0)
    assert damage(made) is None
    assert count(made) == 5
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700
    assert [path.name for path in made.parent.iterdir()] == [made.name]


def test_older_backups_go(kept: Books) -> None:
    kept.folder.backups.mkdir()
    for day in range(1, 6):
        (kept.folder.backups / f"ctiqa-2026010{day}-030000.sqlite").write_bytes(b"x")
    made = make_backup(kept.folder, 3, 0)
    assert [path.name[6:14] for path in backups_of(kept.folder)][:2] == ["20260104", "20260105"]
    assert backups_of(kept.folder)[-1] == made


def test_without_room_no_backup_is_made_and_nothing_is_left(kept: Books) -> None:
    with pytest.raises(RetryLater, match="no room for a backup"):
        make_backup(kept.folder, 7, 1 << 60)
    assert list(kept.folder.backups.iterdir()) == []


def test_of_a_damaged_database_no_backup_counts(kept: Books) -> None:
    whole_database(kept)
    spoil(kept.folder.database)
    with pytest.raises(RetryLater, match=r"cannot be copied|is damaged"):
        make_backup(kept.folder, 7, 0)
    assert list(kept.folder.backups.iterdir()) == []


def test_the_node_makes_one_when_it_is_due_and_not_before(kept: Books) -> None:
    rounds = Rounds(kept.config, kept.database)
    rounds.back_up()
    (made,) = backups_of(kept.folder)
    rounds.back_up()
    assert backups_of(kept.folder) == [made]


def test_a_damaged_database_is_refused_with_the_backup_that_can_be_put_back(kept: Books) -> None:
    require_sound(kept.folder)
    made = make_backup(kept.folder, 7, 0)
    whole_database(kept)
    spoil(kept.folder.database)
    with pytest.raises(StateError, match=f"is damaged and cannot be used.*`ctiqa-node db restore {made}`"):
        require_sound(kept.folder)
    made.unlink()
    with pytest.raises(StateError, match="there is no backup"):
        require_sound(kept.folder)


def test_a_large_database_is_looked_through_while_the_node_listens_and_before_it_does_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "LARGE_BYTES", 0)
    folder = StateFolder(tmp_path / "state")
    folder.create()
    upgrade(folder.database)
    fill_with_what_a_start_does_not_read(folder.database)
    content = bytearray(folder.database.read_bytes())
    content[-40_000:] = b"\xa5" * 40_000
    config = Config(
        node=NodeSection(state_dir=folder.root, port=0, address="127.0.0.1"),
        worker=WorkerSection(assessors=("snr",), golden_check=False),
    )
    require_sound(folder)
    assert look_through(folder) is None
    folder.database.write_bytes(content)
    require_sound(folder)  # not looked at yet
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(StateError, match="is damaged and cannot be used"):
            Node(config).run()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    with pytest.raises(StateError, match="is damaged and cannot be used"):
        require_sound(folder)
    folder.database.unlink()
    upgrade(folder.database)
    require_sound(folder)
    assert not folder.suspicion.exists()


def fill_with_what_a_start_does_not_read(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO classifications (assessment_id, name, label, probability) VALUES (1, ?, 'x', 0)",
            [("n" * 200,)] * 2000,
        )
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()


def test_after_a_restore_what_came_since_the_backup_is_brought_in_again(kept: Books, tmp_path: Path) -> None:
    made = make_backup(kept.folder, 7, 0)
    kept.receive(4, SeriesTags(patient_id="ROE-1"))
    whole_database(kept)
    spoil(kept.folder.database)
    config = tmp_path / "config.yaml"
    config.write_text(f"node: {{state_dir: {kept.folder.root}}}\n")
    command = ["--config", str(config), "db", "restore", str(made)]
    with NodeLock(kept.folder):
        refused = CliRunner().invoke(app, command)
    assert (refused.exit_code, "Another node is running" in refused.output) == (2, True)
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    assert damage(next(kept.folder.backups.glob("ctiqa-replaced-*.sqlite"))) is not None
    books = Books(tmp_path)
    require_sound(books.folder)
    assert books.account().trouble_count == 4  # files without a row, which the next start sets aside
    with books.database.read() as session:
        claimed = set(session.scalars(select(Instance.path)))
        assert session.scalars(select(AuditEntry.detail)).all()[-1]["command"] == "db restore"
    assert books.spool.set_aside_unclaimed(claimed) == 4
    for path in sorted((books.folder.spool / "unclaimed").iterdir()):
        books.ingest.receive(received(dcmread(path)))
        path.unlink()
    account = books.account()
    assert (account.adds_up, account.instances) == (True, 9)
    books.database.close()


@pytest.mark.parametrize("content", [b"no database" * 1000, b""])
def test_what_is_no_backup_changes_nothing(kept: Books, tmp_path: Path, content: bytes) -> None:
    whole_database(kept)
    before = kept.folder.database.read_bytes()
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(StateError, match="nothing was changed"):
        restore(kept.folder, tmp_path / "file")
    assert kept.folder.database.read_bytes() == before


def test_a_purge_takes_the_backups_with_it(kept: Books) -> None:
    make_backup(kept.folder, 7, 0)
    purge(kept.database, kept.folder, Target(patient_id="DOE-4711"))
    assert backups.backups_of(kept.folder) == []
