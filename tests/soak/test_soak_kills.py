"""SIGKILL of the node at random instants while three senders send ten series; then everything is counted."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archives import Orthanc, free_port
from counting import CountingArchive, count
from phases import AIMS, under_way
from senders import Modality
from soak_report import Report, Row

from ctiqa_models.simulation.series import Scan, simulate_series
from ctiqa_node.ct.writer import write_series
from ctiqa_node.dicom import ApplicationEntity
from support.running_node import FOUR_MODELS, RunningNode
from support.waiting import eventually

pytestmark = [pytest.mark.peers, pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS_EACH = 25
"""Of one node, with ten series of its own."""
SERIES, SENDERS = 10, 3
AIM_SECONDS = 8.0
DEADLINE_SECONDS = 600.0
FAST = {"assessors": ["noise_level"]}
WORKERS: tuple[dict[str, list[str]], ...] = (FAST, FOUR_MODELS, FAST, {})
"""For one seed after the other: the last one has all models that ship."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each seed: so many that all kills have a place."""
    left = metafunc.config.option.kills
    seeds: list[tuple[int, int]] = []
    while left > 0:
        seeds.append((metafunc.config.option.seed + len(seeds), min(KILLS_EACH, left)))
        left -= KILLS_EACH
    values = [(seed, many, WORKERS[place % len(WORKERS)]) for place, (seed, many) in enumerate(seeds)]
    names = [f"seed{seed}-{many}kills" for seed, many in seeds]
    metafunc.parametrize(("this_seed", "this_many", "worker"), values, ids=names)


def ten_series(folder: Path, chance: random.Random) -> list[list[Path]]:
    hu = simulate_series(3, 12, 192, Scan(dose_fraction=0.5, field_of_view_mm=192 * 2.0)).hu
    return [
        write_series(
            np.resize(hu, (chance.randint(12, 36), *hu.shape[1:])), (5.0, 2.0, 2.0), folder / f"series-{index}"
        )
        for index in range(SERIES)
    ]


class Killer:
    """Kills a node at instants of its own choosing, and notes what was under way."""

    def __init__(self, node: RunningNode, chance: random.Random) -> None:
        self._node = node
        self._chance = chance
        self.phases: Counter[str] = Counter()

    def kill_once(self, give: Callable[[], None]) -> None:
        """Start the node, kill it some time later: anywhere, or shortly after the phase aimed at was seen.

        `give` is called when somebody shall begin to send.
        """
        aim = self._chance.choice(("anywhere", *AIMS))
        if aim == "reception":
            give()
        self._node.launch()
        if aim == "start":
            time.sleep(self._chance.uniform(0.1, 3.0))
        else:
            self._node.wait_until_ready()
            self._wait_for(aim)
        ready = self._node.is_ready()
        self._node.kill()
        hit = under_way(self._node.state / "ctiqa.sqlite") if ready else {"start"}
        self.phases.update(hit or {"idle"})

    def _wait_for(self, aim: str) -> None:
        if aim == "anywhere":
            time.sleep(self._chance.uniform(0.0, AIM_SECONDS))
            return
        until = time.monotonic() + AIM_SECONDS
        while aim not in under_way(self._node.state / "ctiqa.sqlite") and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(self._chance.choice((0.0, self._chance.uniform(0.0, 0.3))))


def test_the_node_is_killed_again_and_again(
    this_seed: int,
    this_many: int,
    worker: dict[str, list[str]],
    tmp_path: Path,
    soak_report: Report,
    report_seconds: Callable[[], float],
) -> None:
    chance = random.Random(this_seed)
    series = ten_series(tmp_path, chance)
    port = free_port()
    with Orthanc(tmp_path / "orthanc") as orthanc, CountingArchive(pause_seconds=0.15) as counter:
        archives = [("orthanc", orthanc.peer), ("counter", ApplicationEntity("COUNTER", "127.0.0.1", counter.port))]
        node = RunningNode(
            tmp_path / "node", archives, node={"port": port}, series={"quiet_seconds": 3}, worker=worker,
            delivery={"first_retry_seconds": 0.3, "max_retry_seconds": 1, "connection_timeout_seconds": 5},
        )  # fmt: skip
        senders = [Modality(f"CT{index}", ApplicationEntity("CTIQA", "127.0.0.1", port)) for index in range(SENDERS)]
        killer = Killer(node, chance)
        try:
            left = iter(enumerate(series))

            def give() -> None:
                for index, paths in itertools.islice(left, 1):
                    senders[index % SENDERS].give(paths)

            give()
            for _ in range(this_many):
                killer.kill_once(give)
            for _ in range(SERIES):
                give()
            with node:
                eventually(lambda: all(sender.idle for sender in senders), 240)
                results = node.wait_for_end(SERIES, DEADLINE_SECONDS)
        finally:
            for sender in senders:
                sender.stop()
        promised = {path for sender in senders for path in sender.stored}
        archived = {each["MainDicomTags"]["SOPInstanceUID"] for each in orthanc.find("Instance", {})}
        counted = count(node, promised, archived, counter.instances, sent_again=counter.sent_again)
        fault = f"SIGKILL of the node, assessors: {len(worker.get('assessors', ())) or 'all'}"
        soak_report.add(Row(fault, this_many, counted, report_seconds(), killer.phases))
    counted.check()
    assert not counter.changed, "the archive got an instance again with other content"
    assert promised == {path for each in series for path in each}
    assert sum(killer.phases.values()) >= this_many
    assert {each["state"] for each in results} == {"delivered"}
    assert sorted(each["instances"] for each in results) == sorted(map(len, series))
