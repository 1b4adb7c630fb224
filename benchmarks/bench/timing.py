"""Timing: cases that take turns, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.figures import LEAST_ROUNDS, Measured

Case = Callable[[], object]


def seconds_of(action: Case) -> float:
    """How long one call takes; rubbish of earlier ones is collected before."""
    gc.collect()
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def alternate(
    cases: Mapping[str, Case],
    rounds: int = LEAST_ROUNDS,
    warm_up: int = 1,
    before_each: Case | None = None,
    before: Mapping[str, Case] | None = None,
) -> dict[str, Measured]:
    """Time each case once a round, all cases in each round, each round beginning with another case.

    `warm_up` rounds are not counted. `before_each` is called before each case, and not timed; then what `before` has
    for that case.
    """
    preparing = before or {}
    names = list(cases)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-warm_up, rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            if before_each is not None:
                before_each()
            preparing.get(name, _nothing)()
            took = seconds_of(cases[name])
            if turn >= 0:
                found[name].append(took)
        say(f"round {turn + 1} of {rounds}" if turn >= 0 else "warm-up")
    return {name: Measured(unit="s", values=tuple(values)) for name, values in found.items()}


def _nothing() -> None:
    pass


def repeated(action: Case, rounds: int = LEAST_ROUNDS, warm_up: int = 1) -> Measured:
    """One case alone, in seconds."""
    return alternate({"": action}, rounds, warm_up)[""]


def peak_mib(process: int | None = None) -> float:
    """The most memory that a process (None: this one) has had in RAM so far, or since `forget_peak`."""
    return _status("VmHWM:", process)


def resident_mib(process: int | None = None) -> float:
    """The memory that a process (None: this one) has in RAM now."""
    return _status("VmRSS:", process)


def forget_peak(process: int | None = None) -> None:
    """Let `peak_mib` begin anew with what is in RAM now (proc(5), clear_refs)."""
    (_proc(process) / "clear_refs").write_text("5")


def _status(field: str, process: int | None) -> float:
    # Not getrusage: its peak of a new process is that of the one that started it.
    lines = (_proc(process) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def _proc(process: int | None) -> Path:
    return Path("/proc") / ("self" if process is None else str(process))


def in_child(script: Path, *arguments: str, threads: int | None = None) -> Any:
    """Run a script in a process of its own, for its memory or a cold start; what it prints last is its answer.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    environment = dict(os.environ) | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    done = subprocess.run(
        [sys.executable, str(script), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{script.name} {' '.join(arguments)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def say(text: str) -> None:
    """Progress, on standard error."""
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()
