"""SIGKILL of the worker between any two changes that it makes, SIGTERM of the node in between; then all is counted."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from counting import count
from phases import step_of_the_worker
from shim import WorkerKiller, build_shim
from soak_report import Report, Row
from test_soak_disk import series_in, ward
from test_soak_kills import FAST

from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.peers, pytest.mark.timeout(3600)]

KILLS_FOR_ONE_START = 4
"""The pause before the next worker doubles each time one dies soon."""
MOST_CHANGES = 130
"""A worker makes about so many for one series."""
MAKING_KILLED = "the structured report could not be made: the worker died: signal SIGKILL"
"""How a series fails whose report is not made again, for it may have been what killed the worker."""


def test_the_worker_is_killed_in_every_step(tmp_path: Path, seed: int, kills: int, soak_report: Report) -> None:
    chance, many, began = random.Random(seed), max(4, kills // 4), time.monotonic()
    series = series_in(tmp_path, many)
    killer = WorkerKiller(build_shim(tmp_path), tmp_path / "state", tmp_path / "die")
    steps: Counter[str] = Counter()
    terms = 0
    settings = {"series": {"quiet_seconds": 1}, "worker": {**FAST, "max_attempts": 20}}
    with ward(tmp_path, tmp_path / "state", **settings) as here:
        here.node.variables = killer.variables
        database = here.node.state / "ctiqa.sqlite"
        with here.node as node:
            for number, paths in enumerate(series):
                if number and number % KILLS_FOR_ONE_START == 0:
                    assert node.stop() == 0
                    terms += 1
                    node.start()
                here.give([paths])
                killer.arm(chance.randrange(MOST_CHANGES))
                eventually(lambda: killer.has_struck() or here.has_ended(), 240)
                if killer.has_struck():
                    steps[step_of_the_worker(database)] += 1
            here.wait_for_senders()
            results = node.wait_for_end(many, 300)
            counted = count(node, here.stored, here.archive.instances, sent_again=here.archive.sent_again)
    seconds = time.monotonic() - began
    soak_report.add(Row("SIGKILL of the worker", steps.total(), counted, seconds, steps=steps))
    soak_report.add(Row("SIGTERM in the middle of that", terms, counted, seconds))
    counted.check()
    assert here.stored == {path for paths in series for path in paths}
    failed = [each for each in results if each["state"] == "failed"]
    assert steps.total() >= many // 2
    assert {each["state"] for each in results} <= {"delivered", "failed"}
    assert all(each["reason"].startswith(MAKING_KILLED) for each in failed), [each["reason"] for each in failed]
