"""Benchmark 6: what a node answers with 100,000 series and 10 million measurements in its database, and how soon."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.big_database import DESTINATIONS, BigDatabase, big_database
from bench.figures import Line, Measured, at_most, compared, counted
from bench.running import Options, run
from bench.timing import alternate, say
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from ctiqa_node.cli import queue, results
from ctiqa_node.config import Config
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Series
from ctiqa_node.delivery import _due as due_deliveries
from ctiqa_node.health import node_status
from ctiqa_node.ledger.retention import _next_due as next_expiry
from ctiqa_node.results import series_results
from ctiqa_node.story import tell

FEW, MANY = 1_000, 100_000
ANSWER = at_most(0.3, "value")
Question = Callable[[Session], object]


def measure(options: Options) -> tuple[Sequence[Line], Sequence[str]]:
    """Ask a small database and a large one the same questions, as a function and as a command."""
    few, many = big_database(options.scratch, FEW), big_database(options.scratch, MANY)
    lines = [*_answers(few, many, options.rounds), *_cold(many, options.rounds), *_commands(many, options.rounds)]
    lines += _starts(many, options.rounds)
    note = (
        f"{many.measurements:,} measurements and {many.instances:,} instances, in a file of {many.mebibytes:,.0f} MiB; "
        f"the {few.series:,} series are of the same kind."
    )
    return lines, [note, "Cold: the pages of the file were dropped from the system's memory before."]


def _answers(few: BigDatabase, many: BigDatabase, rounds: int) -> Iterator[Line]:
    """What the commands ask, without the process around it."""
    with _opened(few) as small, _opened(many) as large:
        for name, question in _QUESTIONS.items():
            cases = {"few": partial(_ask, small, few, question), "many": partial(_ask, large, many, question)}
            say(name)
            took = alternate(cases, rounds)
            base = compared(f"{name}, {FEW:,} series", took["few"])
            yield base
            yield compared(f"{name}, {MANY:,} series", took["many"], base, ANSWER)
        yield counted("queries of `status`", _count_queries(partial(node_status, _config(many))), "queries")


def _ask(database: Database, which: BigDatabase, question: Callable[..., object]) -> None:
    with database.read() as session:
        question(session, which)


def _one(session: Session, which: BigDatabase) -> object:
    return series_results(session, results.named_series(session, f"A{which.series // 2 + 1:08d}"), with_slices=True)


def _why(session: Session, which: BigDatabase) -> object:
    return [tell(session, each) for each in results.named_series(session, f"A{which.series // 2 + 1:08d}")]


def _newest(session: Session, which: BigDatabase) -> object:
    del which
    newest = select(Series).order_by(Series.last_instance_at.desc(), Series.id.desc()).limit(20)
    return series_results(session, session.scalars(newest).all(), with_slices=False)


def _queue(session: Session, which: BigDatabase) -> object:
    del which
    jobs = [queue._job_entry(job) for job in queue._open_jobs(session)]
    return jobs, list(queue._delivery_entries(session, queue._open_deliveries(session, refused=False)))


def _due(session: Session, which: BigDatabase) -> object:
    del which
    return session.scalars(due_deliveries(DESTINATIONS[0])).all()


def _expiry(session: Session, which: BigDatabase) -> object:
    del session
    database = Database(which.folder.database)
    try:
        return next_expiry(database, now())
    finally:
        database.close()


_QUESTIONS: dict[str, Callable[[Session, BigDatabase], object]] = {
    "`status`": lambda _, which: node_status(_config(which)),
    "`results`": _newest,
    "`results` of one series": _one,
    "`why`": _why,
    "`queue ls`": _queue,
    "a courier's look at what is due": _due,
    "whether pixel data has expired": _expiry,
}


def _cold(many: BigDatabase, rounds: int) -> Iterator[Line]:
    with _opened(many) as large:
        cases: dict[str, Callable[[], object]] = {
            "`status`": lambda: node_status(_config(many)),
            "`results`": partial(_ask, large, many, _newest),
        }
        took = alternate(cases, rounds, before_each=partial(_forget_pages, many.folder.database))
        for name, measured in took.items():
            yield compared(f"{name}, {MANY:,} series, cold", measured)


def _forget_pages(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def _commands(many: BigDatabase, rounds: int) -> Iterator[Line]:
    """The commands as a person types them."""
    cases = {
        "Python alone": partial(_run, many, "-c", "pass"),
        "`ctiqa-node status`": partial(_run, many, "-m", "ctiqa_node.cli", "status"),
        "`ctiqa-node results`": partial(_run, many, "-m", "ctiqa_node.cli", "results"),
    }
    took = alternate(cases, rounds, warm_up=2)
    base = compared("Python alone, a whole process", took["Python alone"])
    yield base
    for name in list(cases)[1:]:
        yield compared(f"{name}, a whole process", took[name], base, at_most(0.5, "value"))


def _run(which: BigDatabase, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], env=_environment(which.folder.root), capture_output=True, check=False
    )
    if done.returncode not in (0, 2):  # 2: the node does not run
        raise RuntimeError(done.stderr.decode()[-2000:])


def _environment(state: Path) -> dict[str, str]:
    """With the destinations: a node that starts without them ends what waits to be sent there."""
    given = {"CTIQA_NODE__STATE_DIR": str(state), "CTIQA_PEERS": "any"}
    return dict(os.environ) | given | {"CTIQA_DESTINATIONS": json.dumps(_destinations())}


def _destinations() -> list[dict[str, Any]]:
    return [{"name": name, "ae_title": name.upper(), "host": "127.0.0.1", "port": 1} for name in DESTINATIONS]


def _starts(many: BigDatabase, rounds: int) -> Iterator[Line]:
    """From the start of `serve` to the first connection that is taken."""
    found: dict[str, list[float]] = {"new": [], "used": [], "many": []}
    with tempfile.TemporaryDirectory(dir=many.folder.root.parent) as folder:
        used = Path(folder, "used")
        _start(used)
        for turn in range(rounds):
            fresh = Path(folder, f"new-{turn}")
            found["new"].append(_start(fresh))
            shutil.rmtree(fresh)
            found["used"].append(_start(used))
            found["many"].append(_start(many.folder.root))
            say(f"round {turn + 1} of {rounds}")
    took = {name: Measured(unit="s", values=tuple(values)) for name, values in found.items()}
    target = at_most(2, "value")
    base = compared("`serve` until it listens, a node that ran before", took["used"], target=target)
    yield base
    yield compared("`serve` until it listens, on a new state folder", took["new"], base, target)
    yield compared(f"`serve` until it listens, {MANY:,} series", took["many"], base, target)


def _start(state: Path) -> float:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ("-m", "ctiqa_node.cli", "serve", "--address", "127.0.0.1", "--port", str(port))
    began = time.perf_counter()
    node = subprocess.Popen([sys.executable, *arguments], env=_environment(state), stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                if node.poll() is not None:
                    raise RuntimeError(f"serve ended with {node.returncode}") from None
                time.sleep(0.005)
            else:
                return time.perf_counter() - began
    finally:
        node.send_signal(signal.SIGTERM)
        node.wait()


@contextmanager
def _opened(which: BigDatabase) -> Iterator[Database]:
    database = Database(which.folder.database)
    try:
        yield database
    finally:
        database.close()


def _config(which: BigDatabase) -> Config:
    return Config.model_validate(
        {
            "node": {"state_dir": str(which.folder.root)},
            "peers": "any",
            "destinations": _destinations(),
        }
    )


def _count_queries(action: Callable[[], object]) -> int:
    seen: list[str] = []

    def note(*arguments: Any) -> None:
        seen.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    action()
    event.remove(Engine, "before_cursor_execute", note)
    return len(seen)


if __name__ == "__main__":
    run("database", "Database: 100,000 series, 10 million measurements", measure, ("typer", "rich", "pydantic"))
