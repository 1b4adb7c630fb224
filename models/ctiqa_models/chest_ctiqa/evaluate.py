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
from rich.progress import track

from ctiqa_models import catalog
from ctiqa_models.chest_ctiqa.batches import whole
from ctiqa_models.chest_ctiqa.domain import view_of
from ctiqa_models.chest_ctiqa.examples import Example, load_examples, make_examples
from ctiqa_models.chest_ctiqa.judgement import Judgement, judge
from ctiqa_models.chest_ctiqa.labels import Window, window_of_kernel
from ctiqa_models.chest_ctiqa.network import ALL_TASKS, Task
from ctiqa_models.chest_ctiqa.paper import CLASS_COLUMNS, CLASS_ROWS, NUMBER_COLUMNS, NUMBER_ROWS
from ctiqa_models.chest_ctiqa.preprocess import network_input, slice_channels, slice_maps
from ctiqa_models.chest_ctiqa.recipe import Recipe, read_recipe
from ctiqa_models.chest_ctiqa.release import Release, objection_to, read_release
from ctiqa_models.chest_ctiqa.volumes import AS_IT_CAME, DENOISED, PHANTOM, is_chest
from ctiqa_models.data.slices import read_slice, slice_files
from ctiqa_models.data.split import is_held_out
from ctiqa_models.device import device_of
from ctiqa_models.evaluation.classes import accuracy, f1, precision, recall
from ctiqa_models.evaluation.figures import Figure, Values, bootstrap, plcc, rmse, srcc
from ctiqa_models.evaluation.table import Row, Table
from ctiqa_models.training.request import EvaluateRequest

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


@dataclass(frozen=True, slots=True)
class _Measured:
    """A variant and what it said of the held-out series."""

    name: str
    judged: list[Judged]


def run(request: EvaluateRequest) -> tuple[Table, ...]:
    """The paper's table of classes and that of numbers, the window of real slices, and what the gate lets through.

    `weights` may be a folder: each file in it becomes rows of the first two tables, so that the variants of the paper's
    Tables 2 and 3 stand beside each other; the last two are of one file alone. Series are simulated on the validation
    side of `sources.slices` and on held-out phantoms, as the weights' recipe has it, and kept in `cache`. Raises
    WeightsError, and ValueError for slices that cannot be read or weights that do not look at series in the same way.
    """
    releases = [read_release(file) for file in request.files(catalog.CHEST_CTIQA_WEIGHTS)]
    first = releases[0]
    if len({_way_of_looking(release.recipe) for release in releases}) > 1:
        raise ValueError(f"the weights in {request.weights} were trained on different pictures; measure them apart")
    with _folder(request.cache) as folder:
        make_examples(folder, request.sources.slices, first.recipe, request.processes, is_held_out)
        held_out = [one for one in load_examples(folder, first.recipe.shape) if is_held_out(one.patient)]
    measured = []
    for release in track(releases, description="measuring"):
        release.network.to(device_of(request.device))
        judged = [judge_example(release, one) for one in held_out]
        measured.append(_Measured(describe(release.recipe), judged))
    notes = (_NO_READERS,) if request.against else ()
    figures = partial(_figures, resamples=request.resamples)
    of_variants = (_class_table(measured, figures, notes), _number_table(measured, figures, notes))
    if len(releases) > 1:
        return of_variants
    slices = [] if request.sources.slices is None else list(_judged_slices(first, request.sources.slices))
    return (*of_variants, _slice_table(slices, figures), _gate_table(measured[0].judged))


def describe(recipe: Recipe) -> str:
    """A row's name: where the tasks part, or which are alone, and losses that are not the shipped recipe's."""
    alone = len(recipe.tasks) < len(ALL_TASKS)
    name = f"{' and '.join(recipe.tasks)} alone" if alone else recipe.branch
    if recipe.loss_weights == read_recipe().loss_weights:
        return name
    return f"{name}, λ {' '.join(f'{weight:g}' for weight in recipe.loss_weights)}"


def _way_of_looking(recipe: Recipe) -> tuple[object, ...]:
    return recipe.shape, recipe.phantoms, recipe.matrix, recipe.draws


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
    measured: Sequence[_Measured], figures: Callable[..., list[Figure | None]], notes: tuple[str, ...]
) -> Table:
    rows = []
    for variant, name, some in _of_each(measured, (PHANTOM, DENOISED)):
        cells = [*figures(some, Task.WINDOW, _OF_CLASSES), *figures(some, Task.EXPOSURE, _OF_CLASSES)]
        rows.append(Row(f"ours ({variant}), {name}", tuple(cells)))
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
    measured: Sequence[_Measured], figures: Callable[..., list[Figure | None]], notes: tuple[str, ...]
) -> Table:
    rows = []
    for variant, name, some in _of_each(measured, (PHANTOM, DENOISED, AS_IT_CAME)):
        cells = [*figures(some, Task.SNR, _OF_NUMBERS), *figures(some, Task.BRISQUE, _OF_NUMBERS)]
        rows.append(Row(f"ours ({variant}), {name}", tuple(cells)))
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


def _of_each(measured: Sequence[_Measured], origins: Sequence[str]) -> Iterator[tuple[str, str, list[Judged]]]:
    for one in measured:
        yield from ((one.name, name, some) for name, some in _groups(one.judged, origins))


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


@contextmanager
def _folder(cache: Path | None) -> Iterator[Path]:
    """Where simulated series are kept: the cache, or a folder that is gone afterwards."""
    if cache is not None:
        yield cache / "examples"
        return
    with TemporaryDirectory() as folder:
        yield Path(folder) / "examples"
