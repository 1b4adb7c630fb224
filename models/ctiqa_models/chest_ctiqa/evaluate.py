"""Measure Chest CT-IQA on patients it has not seen, beside the paper's own tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from ctiqa_models import catalog
from ctiqa_models.chest_ctiqa.batches import whole
from ctiqa_models.chest_ctiqa.domain import view_of
from ctiqa_models.chest_ctiqa.examples import Example, load_examples, make_examples
from ctiqa_models.chest_ctiqa.judgement import Judgement, judge
from ctiqa_models.chest_ctiqa.labels import Window, window_of_kernel
from ctiqa_models.chest_ctiqa.network import Task
from ctiqa_models.chest_ctiqa.paper import CLASS_COLUMNS, CLASS_ROWS, NUMBER_COLUMNS, NUMBER_ROWS
from ctiqa_models.chest_ctiqa.preprocess import network_input, slice_channels, slice_maps
from ctiqa_models.chest_ctiqa.release import Release, objection_to, read_release
from ctiqa_models.chest_ctiqa.volumes import AS_IT_CAME, DENOISED, PHANTOM, is_chest
from ctiqa_models.data.slices import read_slice, slice_files
from ctiqa_models.data.split import is_held_out
from ctiqa_models.device import device_of
from ctiqa_models.evaluation.classes import accuracy, f1, precision, recall
from ctiqa_models.evaluation.figures import Figure, Values, bootstrap, plcc, rmse, srcc
from ctiqa_models.evaluation.table import Row, Table
from ctiqa_models.training.request import EvaluateRequest
from ctiqa_models.weights import WeightsFile, sha256_of

_Statistic = Callable[[Values, Values], float]

_OF_CLASSES: tuple[_Statistic, ...] = (accuracy, precision, recall, f1)
_OF_NUMBERS: tuple[_Statistic, ...] = (srcc, plcc, rmse)
_NO_READERS = "No reader scored these series, so that other metrics have no column to stand in."


@dataclass(frozen=True, slots=True)
class Judged:
    """A series of the validation side: what is true of it, and what the network says."""

    patient: str
    origin: str
    truth: dict[Task, float]
    told: dict[Task, float]
    is_accepted: bool


def run(request: EvaluateRequest) -> tuple[Table, ...]:
    """The paper's table of classes and that of numbers, the window of real slices, and what the gate lets through.

    Series are simulated on the validation side of `sources.slices` and on held-out phantoms, as the weights' recipe
    has it, and kept in `cache`. Raises WeightsError, and ValueError for slices that cannot be read.
    """
    release = read_release(_weights(request.weights))
    release.network.to(device_of(request.device))
    with _folder(request.cache) as folder:
        make_examples(folder, request.sources.slices, release.recipe, request.processes, is_held_out)
        held_out = [one for one in load_examples(folder, release.recipe.shape) if is_held_out(one.patient)]
    judged = [judge_example(release, one) for one in held_out]
    slices = [] if request.sources.slices is None else list(_judged_slices(release, request.sources.slices))
    notes = (_NO_READERS,) if request.against else ()
    figures = partial(_figures, resamples=request.resamples)
    return (
        _class_table(judged, figures, release.recipe.branch, notes),
        _number_table(judged, figures, release.recipe.branch, notes),
        _slice_table(slices, figures),
        _gate_table(judged),
    )


def judge_example(release: Release, example: Example) -> Judged:
    """Ask the network and the gate about one series."""
    image, truth = whole(example, release.recipe.shape)
    view = view_of(example.builds, example.field_of_view_mm, example.pixel_mm)
    judgement, seen = judge(release.network, image)
    accepted = objection_to(release, view, seen) is None
    return Judged(example.patient, example.origin, truth, _told(judgement), accepted)


def _told(judgement: Judgement) -> dict[Task, float]:
    features = judgement.features()
    return {
        Task.WINDOW: float(features.window > 0.5) if np.isfinite(features.window) else np.nan,
        Task.EXPOSURE: float(features.exposure > 0.5) if np.isfinite(features.exposure) else np.nan,
        Task.SNR: features.snr,
        Task.BRISQUE: features.brisque,
    }


def _judged_slices(release: Release, folder: Path) -> Iterator[tuple[str, bool, Judged]]:
    """Each real slice of an unseen patient whose kernel tells its window: kernel, whether of the chest, judgement."""
    shape = release.recipe.shape
    for file in slice_files(folder):
        one = read_slice(file)
        window = window_of_kernel(one.kernel)
        if window is None or not is_held_out(one.patient):
            continue
        hu = torch.from_numpy(one.hu.astype(np.float32))[None]
        maps = slice_maps(slice_channels(hu, one.spacing_mm, shape), one.spacing_mm, shape)
        image = network_input(maps, shape.slices)
        told = _told(judge(release.network, image)[0])
        judged = Judged(one.patient, AS_IT_CAME, {Task.WINDOW: float(window)}, told, True)
        yield one.kernel, is_chest(hu, one.spacing_mm), judged


def _class_table(
    judged: Sequence[Judged], figures: Callable[..., list[Figure | None]], branch: str, notes: tuple[str, ...]
) -> Table:
    rows = []
    for name, some in _groups(judged, (PHANTOM, DENOISED)):
        cells = [*figures(some, Task.WINDOW, _OF_CLASSES), *figures(some, Task.EXPOSURE, _OF_CLASSES)]
        rows.append(Row(f"ours ({branch}), {name}", tuple(cells)))
    return Table(
        "Chest CT-IQA: window and exposure",
        CLASS_COLUMNS,
        (*CLASS_ROWS, *rows),
        (
            "Paper: real chests of one Philips scanner. Ours: chests scanned on a virtual reference scanner, which "
            "alone defines 30 and 50 mAs.",
            "Precision and recall are of soft tissue and of 50 mAs; the paper does not say of which class its are.",
            *notes,
        ),
    )


def _number_table(
    judged: Sequence[Judged], figures: Callable[..., list[Figure | None]], branch: str, notes: tuple[str, ...]
) -> Table:
    rows = []
    for name, some in _groups(judged, (PHANTOM, DENOISED, AS_IT_CAME)):
        cells = [*figures(some, Task.SNR, _OF_NUMBERS), *figures(some, Task.BRISQUE, _OF_NUMBERS)]
        rows.append(Row(f"ours ({branch}), {name}", tuple(cells)))
    return Table(
        "Chest CT-IQA: SNR and BRISQUE against the classical algorithms",
        NUMBER_COLUMNS,
        (*NUMBER_ROWS, *rows),
        ("The truth is the mean over the slices that the network sees, measured at full resolution.", *notes),
    )


def _slice_table(slices: Sequence[tuple[str, bool, Judged]], figures: Callable[..., list[Figure | None]]) -> Table:
    groups: dict[str, list[Judged]] = defaultdict(list)
    for kernel, of_chest, judged in slices:
        window = Window(int(judged.truth[Task.WINDOW]))
        for name in ("all", "of the chest" if of_chest else "without lungs", window.words, f"kernel {kernel}"):
            groups[name].append(judged)
    rows = [
        Row(name, (*figures(some, Task.WINDOW, (accuracy,)), str(len(some)), str(len({one.patient for one in some}))))
        for name, some in groups.items()
    ]
    return Table(
        "Window class against the kernel in the tags: real slices of unseen patients, each by itself",
        ("accuracy", "slices", "patients"),
        tuple(rows),
        ("Slices whose kernel tells no window are left out.",),
    )


def _gate_table(judged: Sequence[Judged]) -> Table:
    rows = [
        Row(name, (Figure(float(np.mean([one.is_accepted for one in some]))), str(len(some))))
        for name, some in _groups(judged, (PHANTOM, DENOISED, AS_IT_CAME))
    ]
    return Table("Unseen chests that the gate accepts", ("accepted", "series"), tuple(rows))


def _groups(judged: Sequence[Judged], origins: Sequence[str]) -> Iterator[tuple[str, list[Judged]]]:
    """The series of each origin, after all that were simulated together; empty ones are left out."""
    simulated = [one for one in judged if one.origin in (PHANTOM, DENOISED)]
    yield from ((name, some) for name, some in (("simulated", simulated),) if some)
    for origin in origins:
        some = [one for one in judged if one.origin == origin]
        if some:
            yield origin, some


def _figures(
    judged: Iterable[Judged], task: Task, statistics: Sequence[_Statistic], resamples: int
) -> list[Figure | None]:
    """Each statistic over the series whose truth is known, with its interval; None where there are none."""
    known = [one for one in judged if np.isfinite(one.told[task]) and _is_known(task, one.truth[task])]
    if not known:
        return [None] * len(statistics)
    told, truth = (np.asarray([values[task] for values in which]) for which in _sides(known))
    patients = [one.patient for one in known]
    return [bootstrap(statistic, told, truth, patients, resamples) for statistic in statistics]


def _sides(judged: Sequence[Judged]) -> tuple[list[dict[Task, float]], list[dict[Task, float]]]:
    return [one.told for one in judged], [one.truth for one in judged]


def _is_known(task: Task, value: float) -> bool:
    return value >= 0 if task.is_class else bool(np.isfinite(value))


def _weights(path: Path | None) -> WeightsFile:
    return catalog.CHEST_CTIQA_WEIGHTS if path is None else WeightsFile(path, sha256_of(path))


@contextmanager
def _folder(cache: Path | None) -> Iterator[Path]:
    """Where simulated series are kept: the cache, or a folder that is gone afterwards."""
    if cache is not None:
        yield cache / "examples"
        return
    with TemporaryDirectory() as folder:
        yield Path(folder) / "examples"
