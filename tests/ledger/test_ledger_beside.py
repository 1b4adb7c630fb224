"""Reading the books beside a node that receives: no alarm for what is being written, one for what stays."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest
from ledger_books import Books
from sqlalchemy import func, select

from ctiqa_node.config import Config
from ctiqa_node.ct.writer import SeriesTags
from ctiqa_node.db.tables import Instance
from ctiqa_node.ledger import files
from ctiqa_node.ledger.account import TroubleKind
from ctiqa_node.ledger.files import sweep_outputs
from ctiqa_node.ledger.reconcile import Stopped, reconcile
from ctiqa_node.state import NodeLock, StateFolder
from support.reception import Reception
from support.slices import ct_datasets, ct_files, received
from support.waiting import eventually


def test_an_instance_between_its_file_and_its_row_is_waited_for(books: Books, tmp_path: Path) -> None:
    (dataset,) = ct_datasets(tmp_path / "a", 1)
    holder = sqlite3.connect(books.database.path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    receiving = threading.Thread(target=books.ingest.receive, args=(received(dataset),))
    receiving.start()
    eventually(books.files)
    threading.Timer(0.7, holder.execute, ["COMMIT"]).start()
    with NodeLock(books.folder):
        account = books.account()
    receiving.join(20)
    assert account.troubles == []
    assert account.in_flight == 1


def test_a_file_that_stays_without_a_row_is_told_beside_a_running_node_too(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE_SECONDS", 0.6)
    books.spool.store(b"whose row never came")
    with NodeLock(books.folder):
        started = time.monotonic()
        (trouble,) = books.account().troubles
        assert time.monotonic() - started >= 0.5
    assert trouble.kind is TroubleKind.UNCLAIMED


def test_a_result_that_is_being_made_is_no_trouble_and_one_that_nobody_will_make_is_swept(books: Books) -> None:
    books.receive(5)
    books.close()
    being_made = books.folder.outputs / "1" / "1-sr.dcm"
    of_no_series = books.folder.outputs / "77" / ".1-sr.dcm.0123.part"
    for path in (being_made, of_no_series):
        path.parent.mkdir()
        path.write_bytes(b"half")
    with NodeLock(books.folder):
        assert books.account().in_flight == 1
    (trouble,) = books.account().troubles
    assert str(of_no_series) in trouble.what
    assert sweep_outputs(books.database, books.folder.outputs, older_than_seconds=60) == 0
    assert sweep_outputs(books.database, books.folder.outputs, older_than_seconds=0) == 1
    assert being_made.exists()
    assert books.account().adds_up


def test_a_reading_can_be_ended(full_books: Books) -> None:
    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        reconcile(full_books.config, full_books.database, check=stop)


@pytest.mark.peers
def test_no_false_alarm_while_four_senders_send(tmp_path: Path) -> None:
    folders = []
    for number in range(4):
        folders.append(tmp_path / f"ct{number}")
        ct_files(folders[-1], 40, tags=SeriesTags(patient_id=f"P{number}"))
    root = tmp_path / "state"
    config = Config(node={"state_dir": root})
    with Reception(root, quiet_seconds=60) as reception, NodeLock(StateFolder(root)):
        (root / "outputs").mkdir()
        senders = [
            subprocess.Popen(
                ["storescu", "-aec", "CTIQA", "127.0.0.1", str(reception.port), "+sd", str(folder)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for folder in folders
        ]  # fmt: skip
        read, looks = 0, 0
        while any(sender.poll() is None for sender in senders):
            account = reconcile(config, reception.database)
            assert account.troubles == []
            read, looks = max(read, account.files_read), looks + 1
        assert [sender.wait(60) for sender in senders] == [0] * 4
        assert looks >= 2
        assert read > 0
        assert reconcile(config, reception.database).files_read == 160
        with reception.database.read() as session:
            assert session.scalar(select(func.count(Instance.id))) == 160
