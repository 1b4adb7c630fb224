"""Turnaround: from the last instance of a series to its report in Orthanc, in time and memory, over its slices.

python benchmarks/measure_turnaround.py [--slices 30,100,300,1000,3000] [--once-from 1000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench.course import Course, wait_for_courses, worker_process
from bench.figures import (
    LEAST_ROUNDS,
    Line,
    Measured,
    Point,
    Target,
    at_most,
    compared,
    counted,
    not_measured,
)  # fmt: skip
from bench.receivers import OurNode, orthanc, our_node
from bench.running import Options, numbers, run
from bench.sending import storescu
from bench.slices import SlicesOnDisk, write_slices
from bench.timing import forget_peak, peak_mib, say

from ctiqa_node.config import ObjectSwitches
from ctiqa_node.dicom import ApplicationEntity

TITLE = "Turnaround: from the last instance to report and summary page in Orthanc, less the quiet time"
QUIET_SECONDS = 3.0
ASSOCIATIONS = 4
TOLD_APART = EVERYTHING = 100
"""The slices of the series whose seconds are told apart, and of the one with all objects."""
EXPONENT, GROWTH = 1.05, 1.3
EVERYTHING_SECONDS, EVERYTHING_GIB = 12.0, 3.0
TIME, WORKER, RECEIVER = "time", "worker", "receiver"


def add_options(parser: argparse.ArgumentParser) -> None:
    default = (30, 100, 300, 1000)
    parser.add_argument("--slices", type=numbers, default=default, help="of the series, 30,100,300,1000 or so")
    parser.add_argument("--once-from", type=int, default=1000, help="series of so many slices or more go through once")
    parser.add_argument("--everything", type=int, default=EVERYTHING, help="slices of the series with all objects")


@dataclass(frozen=True, slots=True)
class Sample:
    """One series that went through."""

    course: Course
    worker_mib: float
    receiver_mib: float

    @property
    def seconds(self) -> float:
        """From the last instance to the last accepted object, less the quiet time."""
        return self.course.turnaround(QUIET_SECONDS)


def measure(options: Options) -> tuple[Sequence[Line], Sequence[str]]:
    """Series of several lengths by turns, with report and summary page; then one with all objects."""
    sizes: Sequence[int] = options.own.slices
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        bench = Bench(options, Path(scratch))
        with bench.node("plain", everything=False) as node:
            samples = bench.by_turns(node, sizes)
        with bench.node("everything", everything=True) as node:
            everything = bench.by_turns(node, [options.own.everything])[options.own.everything]
    lines = [line for size in sizes for line in _lines_of(size, samples[size])]
    lines += _parts(min(sizes, key=lambda size: abs(size - TOLD_APART)), samples)
    lines += [_exponent(samples), *_memory_growth(samples), *_everything(options.own.everything, everything)]
    return lines, _notes(options)


@dataclass(frozen=True, slots=True)
class Bench:
    """Our node and an Orthanc, and series that are sent to it one after the other."""

    options: Options
    folder: Path

    @contextmanager
    def node(self, name: str, *, everything: bool) -> Iterator[OurNode]:
        """A node that sends to an Orthanc: report and summary page, or everything that it can make."""
        with orthanc(self.folder / f"{name}-orthanc") as archive:
            destination = _destination(archive.peer, everything=everything)
            quiet = {"quiet_seconds": QUIET_SECONDS}
            with our_node(self.folder / name, series=quiet, destinations=[destination]) as node:
                yield node
        shutil.rmtree(self.folder / name)
        shutil.rmtree(self.folder / f"{name}-orthanc")

    def by_turns(self, node: OurNode, sizes: Sequence[int]) -> dict[int, list[Sample]]:
        """Series of these sizes, again and again; the longest ones once. Before that one that is not counted."""
        slices = {size: write_slices(self.folder / f"{size}", size, self.options.scratch) for size in sizes}
        worker = worker_process(node)
        samples: dict[int, list[Sample]] = {size: [] for size in sizes}
        _one(node, worker, slices[min(sizes)])
        for turn in range(self.options.rounds):
            for size in sizes:
                if turn == 0 or size < self.options.own.once_from:
                    samples[size].append(_one(node, worker, slices[size]))
            say(f"round {turn + 1} of {self.options.rounds}")
        for size in sizes:
            shutil.rmtree(self.folder / f"{size}")
        return samples


def _destination(peer: ApplicationEntity, *, everything: bool) -> dict[str, object]:
    where: dict[str, object] = {"name": "orthanc", "ae_title": peer.ae_title, "host": peer.host, "port": peer.port}
    return where | ({"objects": dict.fromkeys(ObjectSwitches.model_fields, True)} if everything else {})


def _one(node: OurNode, worker: int, slices: SlicesOnDisk) -> Sample:
    series = slices.renew()
    for process in (worker, node.process):
        forget_peak(process)
    assert storescu(slices.paths, node.peer, ASSOCIATIONS) == 0, "a sender failed"
    (course,) = wait_for_courses(node.database, [series])
    say(f"{len(slices)} slices: {course.turnaround(QUIET_SECONDS):.1f} s")
    return Sample(course, worker_mib=peak_mib(worker), receiver_mib=peak_mib(node.process))


def _lines_of(size: int, samples: Sequence[Sample]) -> list[Line]:
    return [
        _line(f"{size} slices", "s", [sample.seconds for sample in samples], Point(curve=TIME, at=size)),
        _line(
            f"{size} slices: most memory of the worker", "MiB", [sample.worker_mib for sample in samples],
            Point(curve=WORKER, at=size),
        ),
        _line(
            f"{size} slices: most memory of the receiver", "MiB", [sample.receiver_mib for sample in samples],
            Point(curve=RECEIVER, at=size),
        ),
    ]  # fmt: skip


def _line(
    what: str, unit: str, values: Sequence[float], point: Point | None = None, target: Target | None = None
) -> Line:
    """A line of values that were taken once or often."""
    once = len(values) < LEAST_ROUNDS
    measured = Measured(unit=unit, values=tuple(values[:1] if once else values))
    return Line(what=what, measured=measured, point=point, target=target, note="once" if once else "")


def _parts(size: int, samples: dict[int, list[Sample]]) -> list[Line]:
    """Where the seconds of the series of one size went, as shares of them all."""
    whole = _lines_of(size, samples[size])[0]
    parts = [sample.course.parts(QUIET_SECONDS) for sample in samples[size]]
    lines = []
    for name in parts[0]:
        measured = Measured(unit="s", values=tuple(part[name] for part in parts))
        if len(parts) < LEAST_ROUNDS:
            lines.append(counted(f"{size} slices, of that: {name}", measured.values[0], "s"))
        else:
            lines.append(compared(f"{size} slices, of that: {name}", measured, whole))
    return lines


def _exponent(samples: dict[int, list[Sample]]) -> Line:
    what, target = "time grows with the slices to the power of", at_most(EXPONENT, "value")
    sizes = [size for size in samples if size >= EVERYTHING]
    if len(sizes) < 2:
        return not_measured(what, "it takes two series of at least 100 slices", target)
    seconds = [float(np.median([sample.seconds for sample in samples[size]])) for size in sizes]
    power = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    return counted(what, power, "", target, f"from {min(sizes)} to {max(sizes)} slices")


def _memory_growth(samples: dict[int, list[Sample]]) -> list[Line]:
    lines, target = [], at_most(GROWTH, "value")
    for process in ("worker", "receiver"):
        what = f"most memory of the {process}, 3,000 slices over 300"
        if {300, 3000} <= set(samples):
            most = {size: max(getattr(sample, f"{process}_mib") for sample in samples[size]) for size in (300, 3000)}
            lines.append(counted(what, most[3000] / most[300], "×", target))
        else:
            lines.append(not_measured(what, "it takes --slices 300,3000", target))
    return lines


def _everything(size: int, samples: Sequence[Sample]) -> list[Line]:
    what = f"all models, maps and objects, {size} slices"
    memory = [(sample.worker_mib + sample.receiver_mib) / 1024 for sample in samples]
    return [
        _line(what, "s", [sample.seconds for sample in samples], target=at_most(EVERYTHING_SECONDS, "value")),
        _line(f"{what}: most memory of the node", "GiB", memory, target=at_most(EVERYTHING_GIB, "value")),
    ]


def _notes(options: Options) -> list[str]:
    return [
        f"A simulated chest of 512 × 512, sent over {ASSOCIATIONS} associations; from the moment at which the last "
        f"instance was recorded to the one at which Orthanc had accepted the last object, less the {QUIET_SECONDS:g} s "
        "for which a series has to be quiet. The models are loaded, and one series went through before.",
        "Most memory: VmHWM of the process, begun anew with each series; of the node: of receiver and worker together, "
        "each at its own most.",
        f"Series of {options.own.once_from} slices or more went through once.",
    ]


if __name__ == "__main__":
    run("turnaround", TITLE, measure, ("torch", "openvino"), add_options=add_options)
