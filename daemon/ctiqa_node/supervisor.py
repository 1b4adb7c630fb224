"""Starts the worker process, watches it, and starts it anew when it dies or stalls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

from ctiqa_node.config import Config
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Heartbeat
from ctiqa_node.health import NODE_PROCESS
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.logs import get_logger
from ctiqa_node.worker import PROCESS

log = get_logger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 60.0
"""A worker that lived this long did not die of its start."""


class Supervisor:
    """Keeps one worker process alive. `watch` is called every second or so."""

    def __init__(self, config: Config, database: Database) -> None:
        self._config = config
        self._database = database
        self._process: subprocess.Popen[str] | None = None
        self._end = ""
        self._started = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._not_before = 0.0

    @property
    def pid(self) -> int | None:
        """The worker's process ID, while it lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start a worker; it gets the configuration as its first line of input."""
        self._process = subprocess.Popen(  # our own interpreter and module, nothing of a peer's
            [sys.executable, "-m", "ctiqa_node.worker"], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once: `watch` will see it
            self._process.stdin.write(self._config.model_dump_json() + "\n")
            self._process.stdin.flush()
        self._started = time.monotonic()
        log.info("worker started", worker_pid=self._process.pid)

    def watch(self) -> None:
        """Restart a worker that has died, kill one that has stalled; its job is tried again."""
        if self._process is None:
            self._give_back()
            if time.monotonic() >= self._not_before:
                self.start()
            return
        code = self._process.poll()
        if code is not None:
            self._mourn(_how_it_ended(code))
        elif self._is_stalled():
            self._process.kill()
            self._process.wait()
            self._mourn(f"it made no progress for {self._config.worker.stall_seconds:.0f} s and was killed")

    def _mourn(self, how: str) -> None:
        lived = time.monotonic() - self._started
        self._close()
        self._pause = FIRST_PAUSE_SECONDS if lived > STEADY_SECONDS else min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        self._not_before = time.monotonic() + self._pause
        log.error("worker died", how=how, lived_seconds=round(lived), restart_in_seconds=self._pause)
        self._end = how
        self._give_back()

    def _give_back(self) -> None:
        """What the dead worker had is tried again. Called until it succeeds: the database may be locked just now."""
        with self._database.write() as session:
            for job in jobs.in_work(session):
                error = f"the worker died: {self._end}"
                jobs.give_back(session, job, error, self._config.worker.max_attempts, fatal=True)

    def _is_stalled(self) -> bool:
        with self._database.read() as session:
            pulse, own = session.get(Heartbeat, PROCESS), session.get(Heartbeat, NODE_PROCESS)
        limit = self._config.worker.stall_seconds
        if pulse is None or self._process is None or pulse.pid != self._process.pid:
            return time.monotonic() - self._started > limit
        # Counted up to our own last sign of life: when none can be written, the disk is to blame and not the worker.
        ours = None if own is None or own.pid != os.getpid() else own.detail.get("monotonic")
        until = time.monotonic() if ours is None else float(ours)
        told = float(pulse.detail["monotonic"])
        idle = "job" not in pulse.detail
        return until - told > limit or (not idle and told - float(pulse.detail["progressed_monotonic"]) > limit)

    def stop(self) -> None:
        """End the worker; what it had in work is as if it had not begun."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._close()
        with self._database.write() as session:
            for job in jobs.in_work(session):
                jobs.put_back_unharmed(session, job)

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process = None


def _how_it_ended(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
