"""Measure N2Q: `ctiqa-node evaluate n2q`. The poster's table beside ours, dose classes, and real dose pairs."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from ctiqa_models import catalog
from ctiqa_models.data.split import is_held_out
from ctiqa_models.device import device_of
from ctiqa_models.evaluation.figures import Figure, plcc
from ctiqa_models.evaluation.table import Cell, Row, Table
from ctiqa_models.n2q.batches import OTHER_KERNEL, STANDARD_KERNEL, Bases, make_bases
from ctiqa_models.n2q.examples import simulate_slices, slices_to_simulate
from ctiqa_models.n2q.network import DOSE_CLASSES
from ctiqa_models.n2q.pictures import PictureSet, as_they_came, of_pairs, on_virtual_scanner
from ctiqa_models.n2q.release import Release, read_release
from ctiqa_models.n2q.train import EXAMPLES
from ctiqa_models.n2q.variants import VARIANTS
from ctiqa_models.training.request import EvaluateRequest

_POSTER = {
    "AE": (0.6761, 0.1033, 0.3226),
    "RED-CNN": (0.7250, 0.0594, 0.2434),
    "U-Net": (0.7448, 0.0804, 0.2830),
    "U-HPF": (0.7381, 0.0979, 0.3237),
    "U-Con": (0.7484, 0.0759, 0.2794),
    "U-SSL": (0.7572, 0.0669, 0.2505),
    "N2Q": (0.7664, 0.0686, 0.2437),
}
"""SSIM, MSE and IRMSE of each row of the poster's table."""

_COLUMNS = ("SSIM", "MSE", "IRMSE", "r over body", "r over tissue", "full above quarter dose")
_NOTES = (
    "Maps in 0–1; the poster does not say its scale (in −1…1 an MSE is four times as large, a RMSE twice).",
    "IRMSE is taken as the mean over pictures of the root of each one's MSE: the poster does not define it.",
    "The constant map has each picture's true mean: what knowing one number would reach.",
    "As they came: slices hold noise of their own, of no known dose, beside which the scanner's is added.",
    "r is Pearson's between the predicted and the true mean of each picture, over the body or its soft tissue.",
)

_DOSE_NOTES = (
    "Dose is a share of the full dose of the virtual reference scanner under exposure control, with its standard "
    "kernel, over denoised slices of unseen patients.",
    "Other kernels were never given a class in training.",
)
_CHANCE = Row("chance", (Figure(1 / 5), Figure(13 / 25)), "theory")
VIRTUAL = "virtual scanner"


def run(request: EvaluateRequest) -> tuple[Table, ...]:
    """The tables of N2Q on held-out slices (`sources.slices`) and real pairs (`sources.pairs`), as far as given.

    `weights` may be a folder: each file in it becomes rows, so that variants stand beside each other. Raises ValueError
    when there is nothing to measure on, and WeightsError.
    """
    if request.against:
        raise ValueError(f"N2Q predicts maps, which no metric does that gives one number: {', '.join(request.against)}")
    releases = [read_release(file) for file in request.files(catalog.N2Q_WEIGHTS)]
    bases = _held_out(request, request.sources.slices) if request.sources.slices else None
    pairs = sorted(request.sources.pairs.glob("*.npz")) if request.sources.pairs else []
    if bases is None and not pairs:
        raise ValueError("N2Q is measured on slices of held-out patients or on full- and quarter-dose pairs: name some")
    device = device_of(request.device)
    measured: list[tuple[Release, list[PictureSet]]] = []
    for release in track(releases, description="measuring"):
        release.network.to(device)
        measured.append((release, _sets(release, bases, pairs, request.resamples)))
    return (_maps(measured), *(table for release, sets in measured for table in _doses(release, sets)))


def _held_out(request: EvaluateRequest, slices: Path) -> Bases | None:
    """The slices of the patients that validate, with their noise; None when there are none."""
    files = slices_to_simulate(slices, is_held_out, None)
    with tempfile.TemporaryDirectory() as nowhere:
        cache = (request.cache or Path(nowhere)) / EXAMPLES
        examples = list(track(simulate_slices(files, cache, request.processes), "simulating", total=len(files)))
    return make_bases(examples) if examples else None


def _sets(release: Release, bases: Bases | None, pairs: Sequence[Path], resamples: int) -> list[PictureSet]:
    network, channels = release.network, release.recipe.row.channels
    sets = []
    if bases is not None:
        sets += [
            PictureSet(VIRTUAL, on_virtual_scanner(network, bases, channels, STANDARD_KERNEL), resamples),
            PictureSet("other kernels", on_virtual_scanner(network, bases, channels, OTHER_KERNEL), resamples),
            PictureSet("as they came", as_they_came(network, bases, channels), resamples),
        ]
    if pairs:
        sets.append(PictureSet("real pairs", of_pairs(network, pairs, channels), resamples))
    return sets


def _maps(measured: Sequence[tuple[Release, list[PictureSet]]]) -> Table:
    """The poster's rows, then ours on each set, then what a constant map would reach."""
    rows = [Row(name, (*map(Figure, figures), None, None, None), "poster") for name, figures in _POSTER.items()]
    for release, sets in measured:
        rows += [Row(f"{release.recipe.row.title}, {one.name}", _map_cells(one)) for one in sets]
    seen = {release.recipe.row.title for release, _ in measured}
    rows += [Row(row.title, ("not measured",) * len(_COLUMNS)) for row in VARIANTS.values() if row.title not in seen]
    if measured:
        rows += [Row(f"constant map, {one.name}", _constant_cells(one)) for one in measured[0][1]]
    return Table("Predicted SSIM maps, 5–75 % of full dose", _COLUMNS, tuple(rows), _NOTES)


def _map_cells(one: PictureSet) -> tuple[Cell, ...]:
    return (
        one.mean(lambda picture: picture.ssim),
        one.mean(lambda picture: picture.mse),
        one.mean(lambda picture: math.sqrt(picture.mse)),
        one.figure(plcc, lambda picture: picture.body),
        one.figure(plcc, lambda picture: picture.tissue),
        one.full_above_quarter(),
    )


def _constant_cells(one: PictureSet) -> tuple[Cell, ...]:
    return (
        one.mean(lambda picture: picture.constant_ssim),
        one.mean(lambda picture: picture.constant_mse),
        one.mean(lambda picture: math.sqrt(picture.constant_mse)),
        None,
        None,
        None,
    )


def _doses(release: Release, sets: Sequence[PictureSet]) -> list[Table]:
    """Dose classes of a variant that names them: how often right, and which is taken for which."""
    if not release.recipe.row.learns_dose:
        return []
    title = release.recipe.row.title
    simulated = [one for one in sets if one.name in (VIRTUAL, "other kernels")]
    rows = tuple(Row(one.name, (one.share_within(0), one.share_within(1))) for one in simulated)
    classes = tuple(f"{dose:.0%}" for dose in DOSE_CLASSES)
    tables = [Table(f"{title}: dose class", ("right", "right or next to it"), (*rows, _CHANCE), _DOSE_NOTES)]
    for one in simulated[:1]:
        found = tuple(
            Row(f"is {name}", tuple(Figure(float(count)) for count in counts))
            for name, counts in zip(classes, one.confusion(), strict=True)
        )
        tables.append(Table(f"{title}: dose class found, {one.name}", classes, found, ("Counts of pictures.",)))
    return tables
