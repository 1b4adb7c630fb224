"""Backlog: many series at once, how fast they are worked off, and whether the device has to wait.

python benchmarks/measure_backlog.py [--series 20] [--slices 100]
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.course import Course, wait_for_courses, worker_process
from bench.figures import LEAST_ROUNDS, Line, Measured, compared, counted
from bench.processor import processor_seconds
from bench.receivers import orthanc, our_node
from bench.running import Options, run
from bench.sending import storescu
from bench.slices import write_slices

TITLE = "Backlog: series that come at once, until the last report is in Orthanc"
ASSOCIATIONS = 4
QUIET_SECONDS = 3.0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--series", type=int, default=20, help="that come at once; six at least")
    parser.add_argument("--slices", type=int, default=100, help="of each series")


def measure(options: Options) -> tuple[Sequence[Line], Sequence[str]]:
    """One backlog; each of its series is a measurement, save the first, with which the worker begins."""
    own = options.own
    if own.series <= LEAST_ROUNDS:
        raise SystemExit(f"at least {LEAST_ROUNDS + 1} series")
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch, orthanc(Path(scratch) / "orthanc") as archive:
        folder = Path(scratch)
        slices = write_slices(folder / "slices", own.slices, options.scratch)
        destinations = (("orthanc", archive.peer),)
        with our_node(folder / "node", destinations, series={"quiet_seconds": QUIET_SECONDS}) as node:
            worker = worker_process(node)
            before = processor_seconds(worker)
            uids = []
            for _ in range(own.series):
                uids.append(slices.renew())
                assert storescu(slices.paths, node.peer, ASSOCIATIONS) == 0, "a sender failed"
            courses = sorted(wait_for_courses(node.database, uids), key=lambda course: course.started)
            used = processor_seconds(worker) - before
    return [*_throughput(courses, own.slices), *_shares(courses, used)], _notes(options)


def _throughput(courses: Sequence[Course], slices: int) -> list[Line]:
    """From the start of one job to the start of the next: what a series costs while more wait."""
    starts = [course.started for course in courses]
    paces = tuple((after - before).total_seconds() for before, after in itertools.pairwise(starts))
    whole = (courses[-1].sent - courses[0].started).total_seconds()
    pace = Measured(unit="s", values=paces)
    return [
        compared("one series after the other", pace),
        compared("slices", pace.per_second(slices, "slices/s")),
        compared("series", Measured(unit="series/h", values=tuple(3600 / seconds for seconds in paces))),
        counted("the whole backlog, from the first job to the last report", whole, "s"),
    ]


def _shares(courses: Sequence[Course], used: float) -> list[Line]:
    """What the worker's time went to, and how much of it the models had to wait."""
    working = (courses[-1].finished - courses[0].started).total_seconds()
    models = sum(sum(course.models.values()) for course in courses)
    objects = sum((course.made - course.valued).total_seconds() for course in courses)
    at_jobs = sum((course.finished - course.started).total_seconds() for course in courses)
    shares = {
        "models": models,
        "making objects": objects,
        "loading, and writing values down": at_jobs - models - objects,
        "between two jobs": working - at_jobs,
    }
    return [
        *(counted(f"share of the worker's time: {name}", seconds / working, "") for name, seconds in shares.items()),
        counted("the models wait, share of the worker's time", 1 - models / working, ""),
        counted("processor cores that the worker kept busy", used / working, "", note="the mean over the backlog"),
    ]


def _notes(options: Options) -> list[str]:
    own = options.own
    return [
        f"{own.series} series of {own.slices} slices of 512 × 512 over {ASSOCIATIONS} associations, a simulated chest; "
        "all models, report and summary page. The worker begins while the later ones still come.",
        "The models wait while the worker loads slices, writes values down, makes objects, or takes the next job.",
    ]


if __name__ == "__main__":
    run("backlog", TITLE, measure, ("torch", "openvino"), add_options=add_options)
