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

from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.peers, pytest.mark.timeout(3600)]

KILLS_FOR_ONE_START = 4
"""The pause before the next worker doubles each time one dies soon."""
MOST_CHANGES = 130
"""A worker makes about so many for one series."""


def test_the_worker_is_killed_in_every_step(tmp_path: Path, seed: int, kills: int, soak_report: Report) -> None:
    chance, many, began = random.Random(seed), max(4, kills // 4), time.monotonic()
    series = series_in(tmp_path, many)
    killer = WorkerKiller(build_shim(tmp_path), tmp_path / "state", tmp_path / "die")
    steps: Counter[str] = Counter()
    terms = 0
    with ward(tmp_path, tmp_path / "state", series={"quiet_seconds": 1}) as here:
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
    assert all("the worker died: signal SIGKILL" in each["reason"] for each in failed)
    assert len(failed) <= steps["making sr"], "only what kills the worker while it makes the report ends as failed"
