"""Power cuts: a node's work is recorded, and played back without what was not synced; what was promised is there."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from archives import free_port
from counting import Count, CountingArchive, count
from power import ForgetfulDisk
from senders import Modality
from shim import Deed, build_shim, read_log, recording
from soak_report import Report, Row
from sqlalchemy import select
from test_soak_disk import ward
from test_soak_kills import FAST

from ctiqa_node.config import Config
from ctiqa_node.ct.writer import write_series
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import InstanceState
from ctiqa_node.db.tables import Instance
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.ledger.backup import require_sound
from ctiqa_node.ledger.reconcile import reconcile
from ctiqa_node.node import Node
from support.running_node import RunningNode
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.peers, pytest.mark.timeout(3600)]

SERIES, SLICES = 4, 12


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Path]]:
    """A node that got series from three senders, assessed them and sent results, from an empty disk on: the folder it
    lay in, its recording, and the files that were sent.
    """
    folder = tmp_path_factory.mktemp("power")
    library, log = build_shim(folder), folder / "deeds"
    chance = np.random.default_rng(5)
    series = [
        write_series(chance.normal(0, 30, (SLICES, 96, 96)).clip(-500, 500), (5.0, 2.0, 2.0), folder / f"series-{each}")
        for each in range(SERIES)
    ]
    port = free_port()
    peer = ApplicationEntity("CTIQA", "127.0.0.1", port)
    with CountingArchive() as archive:
        destination = ("archive", ApplicationEntity("COUNTER", "127.0.0.1", archive.port))
        disk = folder / "disk"
        disk.mkdir()
        state = {"port": port, "state_dir": str(disk / "var" / "ctiqa")}
        node = RunningNode(folder / "node", [destination], node=state, series={"quiet_seconds": 1}, worker=FAST)
        node.variables = dict(recording(library, disk, log))
        senders = [Modality(f"CT{index}", peer) for index in range(3)]
        with node:
            for index, paths in enumerate(series):
                senders[index % 3].give(paths)
            eventually(lambda: all(sender.idle for sender in senders), 60)
            node.wait_for_end(SERIES, 120)
            # The same once more: instances that came before are promised anew, and a late slice makes a revision.
            senders[0].give(series[0])
            eventually(lambda: all(sender.idle for sender in senders), 60)
        for sender in senders:
            sender.stop()
    return disk, log, [path for paths in series for path in paths]


def cuts(deeds: list[Deed], chance: random.Random, how_many: int) -> list[int]:
    """Places in a recording: by chance, and just after a promise."""
    promises = [place + 1 for place, deed in enumerate(deeds) if deed.kind.name == "SEND"]
    anywhere = chance.sample(range(1, len(deeds)), how_many // 2)
    return sorted({*anywhere, *chance.sample(promises, min(len(promises), how_many - how_many // 2)), len(deeds)})


def start_as_a_node_does(config: Config) -> Database:
    """What `Node.start` does with a state folder before it listens."""
    node = Node(config)
    node._folder.create()
    require_sound(node._folder)
    upgrade(node._folder.database)
    node._database = Database(node._folder.database)
    node._recover(node._open_spool())
    return node._database


def missing(database: Database, spool: Path, promised: set[str]) -> set[str]:
    """Of the promised instances those without exactly one row and an unharmed file."""
    with database.read() as session:
        rows = session.scalars(select(Instance).where(Instance.state == InstanceState.KEPT)).all()
    there = {row.sop_instance_uid for row in rows if _unharmed(spool / row.path, row.sha256)}
    assert len(rows) == len({row.sop_instance_uid for row in rows})
    return promised - there


def _unharmed(path: Path, digest: str) -> bool:
    if not path.is_file():
        return False
    content = path.read_bytes()
    offset = 144 + int.from_bytes(content[140:144], "little")
    return hashlib.sha256(content[offset:]).hexdigest() == digest


def at_each_cut(disk: Path, log: Path, places: list[int]) -> Iterator[tuple[int, ForgetfulDisk]]:
    forgetful = ForgetfulDisk(disk)
    wanted = set(places)
    for place, deed in enumerate(read_log(log), 1):
        forgetful.do(deed)
        if place in wanted:
            yield place, forgetful


@pytest.mark.parametrize("left", ["nothing", "some"])
def test_what_was_promised_before_the_cut_is_there_after_it(
    recorded: tuple[Path, Path, list[Path]], left: str, tmp_path: Path, seed: int, kills: int,
    soak_report: Report, report_seconds: Callable[[], float],
) -> None:  # fmt: skip
    disk, log, _ = recorded
    chance = random.Random(f"{seed} {left}")
    deeds = list(read_log(log))
    places = cuts(deeds, chance, max(10, kills))
    promised_most = found = 0
    for place, forgetful in at_each_cut(disk, log, places):
        root = tmp_path / "disk"
        forgetful.after_a_cut(root, None if left == "nothing" else chance)
        config = Config(node={"state_dir": root / "var" / "ctiqa"})
        database = start_as_a_node_does(config)
        promised = set(forgetful.promised)
        lost = missing(database, root / "var" / "ctiqa" / "spool", promised)
        assert not lost, f"cut after deed {place} of {len(deeds)} ({deeds[place - 1]}): {len(lost)} of {len(promised)}"
        account = reconcile(config, database)
        assert account.adds_up, f"cut after deed {place}: {account.troubles}"
        database.close()
        promised_most, found = len(promised), found + len(promised)
        shutil.rmtree(root)
    assert promised_most == SERIES * SLICES
    counted = Count(promised=found, found=found, reconcile=0)
    soak_report.add(Row(f"power cut, {left} left of what was not synced", len(places), counted, report_seconds()))


def test_a_node_goes_on_with_what_the_cut_left(
    recorded: tuple[Path, Path, list[Path]], tmp_path: Path, seed: int, kills: int, soak_report: Report
) -> None:
    disk, log, paths = recorded
    chance = random.Random(seed)
    places = chance.sample(cuts(list(read_log(log)), chance, 40), max(1, kills // 25))
    for place, forgetful in at_each_cut(disk, log, places):
        folder = tmp_path / f"cut-{place}"
        state = folder / "disk" / "var" / "ctiqa"
        forgetful.after_a_cut(folder / "disk", chance)
        with ward(folder, state) as here, here.node:
            here.give([paths[first : first + SLICES] for first in range(0, len(paths), SLICES)])
            here.wait_for_senders()
            here.node.wait_for_end(SERIES, 300)
            counted = count(here.node, here.stored)
        soak_report.add(Row(f"power cut after deed {place}, node started, all sent again", 1, counted, here.seconds()))
        counted.check()
        assert here.stored == set(paths)
