"""Measure TFKT weights: the poster's table with ours beside it, faults never trained on, doses, real pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from ctiqa_models.catalog import TFKT_WEIGHTS
from ctiqa_models.data.slices import read_slice, slice_files
from ctiqa_models.data.split import is_held_out
from ctiqa_models.device import device_of
from ctiqa_models.evaluation.against import Metric, Unavailable, metric
from ctiqa_models.evaluation.figures import Figure, Values, bootstrap, correlation_sum, krcc, plcc, srcc
from ctiqa_models.evaluation.table import Row, Table
from ctiqa_models.simulation.held_out_distortions import LEVELS, HeldOut
from ctiqa_models.tfkt.examples import Example, examples_of, ldctiqac_slices
from ctiqa_models.tfkt.fit import some
from ctiqa_models.tfkt.network import TfktNetwork
from ctiqa_models.tfkt.pictures import make_pictures, read_pictures
from ctiqa_models.tfkt.preprocess import network_input
from ctiqa_models.tfkt.published import POSTER
from ctiqa_models.tfkt.recipe import Recipe
from ctiqa_models.tfkt.release import Release, read_release
from ctiqa_models.tfkt.trials import DOSES, Trial, at_doses, chosen, pairs, trials, with_fault
from ctiqa_models.training.request import EvaluateRequest

_COLUMNS = ("PLCC", "SRCC", "KRCC", "sum")
_STATISTICS = (plcc, srcc, krcc, correlation_sum)
_CHUNK = 4
_MOST = 480
_PICTURES = "pictures"

Scorer = Callable[[torch.Tensor], Values]
"""Scores pictures [k, y, x] as the network takes them: [k], more is better."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One row of every table of measured figures."""

    name: str
    score: Scorer


def run(request: EvaluateRequest) -> tuple[Table, ...]:
    """The tables for what the sources hold: training slices (of which the validation side counts), pairs, LDCTIQAC.

    `weights` is a file that `train` wrote, or a folder of several, which then get a row each: that is how the poster's
    ablation is made. Raises ValueError when there is nothing to measure on, and WeightsError for unusable weights.
    """
    releases = [read_release(file) for file in request.files(TFKT_WEIGHTS)]
    device = device_of(request.device)
    ours = [_Entry(describe(release.recipe), _scorer(release.network, device)) for release in releases]
    others, missing = _others(request.against, request.device)
    entries = [*ours, *others]
    tables: list[Table] = []
    with TemporaryDirectory(prefix="ctiqa-") as passing:
        cache = request.cache or Path(passing)
        if request.sources.slices is not None:
            tables += _on_slices(request, releases[0], entries, missing, cache)
    if request.sources.ldctiqac is not None:
        held_out = ldctiqac_slices(request.sources.ldctiqac).validation
        notes = (f"{len(held_out)} slices of LDCTIQAC 2023, radiologists' scores; the intervals are over slices.",)
        table = _agreement("TFKT on LDCTIQAC 2023", held_out, entries, missing, request.resamples, notes)
        tables.append(_beside_poster(table))
    if request.sources.pairs is not None:
        tables.append(_of_pairs(pairs(request.sources.pairs), entries))
    if not tables:
        raise ValueError("TFKT is measured on training slices, LDCTIQAC 2023 or pairs, and none were given")
    return tuple(tables)


def describe(recipe: Recipe) -> str:
    """A row's name: what of the poster's method these weights have."""
    parts = [f"TFKT {recipe.variant} {recipe.size}"]
    parts += ["frozen F"] if recipe.freeze_cnn else []
    parts += [] if recipe.pretrain else ["no pre-training"]
    return ", ".join(parts)


def _scorer(network: TfktNetwork, device: torch.device) -> Scorer:
    network.eval().to(device)

    @torch.inference_mode()
    def score(images: torch.Tensor) -> Values:
        parts = [network(images[i : i + _CHUNK, None].to(device)).cpu() for i in range(0, len(images), _CHUNK)]
        return torch.cat(parts).double().numpy()

    return score


def _others(names: Sequence[str], device: str) -> tuple[list[_Entry], list[Row]]:
    """Rows of metrics that can be had, and of those that cannot, with the reason."""
    entries, missing = [], []
    for name in names:
        try:
            found = metric(name, device)
        except Unavailable as error:
            missing.append(Row(name, (str(error), None, None, None)))
        else:
            entries.append(_Entry(name, _of_metric(found)))
    return entries, missing


def _of_metric(found: Metric) -> Scorer:
    return lambda images: found.score(images.numpy())


def _on_slices(
    request: EvaluateRequest, release: Release, entries: Sequence[_Entry], missing: Sequence[Row], cache: Path
) -> list[Table]:
    assert request.sources.slices is not None
    files = slice_files(request.sources.slices)
    return [
        *_on_pictures(request, release, files, entries, missing, cache),
        _on_trials(chosen(files), release.recipe.picture_size, entries, request.resamples, cache),
    ]


def _on_pictures(
    request: EvaluateRequest,
    release: Release,
    files: Sequence[Path],
    entries: Sequence[_Entry],
    missing: Sequence[Row],
    cache: Path,
) -> list[Table]:
    """Simulated pictures of validation patients: of the kinds that were trained on, and of those that were not."""
    if release.curve is None:
        raise ValueError("these weights learnt from readers' scores, so they have no curve to score simulated pictures")
    validating = [file for file in files if is_held_out(read_slice(file).patient)]
    make_pictures(validating, (), cache / _PICTURES, release.recipe.picture_size, request.processes)
    names = {f"{file.stem}.npy" for file in validating}
    made = [picture for picture in read_pictures(cache / _PICTURES) if picture.file in names]
    held_out = examples_of(cache / _PICTURES, made, release.curve)
    new = release.recipe.choosing
    what = (
        f"Up to {_MOST} simulated pictures, drawn at random, of {len(validating)} slices of validation patients, "
        "scored by VIF on the readers' distribution. Intervals (95 %) are over patients."
    )
    caution = "The poster's figures: 200 slices with radiologists' scores. They are not comparable."
    trained = some([example for example in held_out if example.kind not in new], _MOST)
    tables = [
        _beside_poster(
            _agreement("TFKT on simulated pictures", trained, entries, missing, request.resamples, (what, caution))
        )
    ]
    untrained = some([example for example in held_out if example.kind in new], _MOST)
    if untrained:
        title = f"TFKT on kinds that chose the epoch and trained nothing: {', '.join(new)}"
        tables.append(_agreement(title, untrained, entries, missing, request.resamples, (what,)))
    return tables


def _on_trials(few: Sequence[Path], size: int, entries: Sequence[_Entry], resamples: int, cache: Path) -> Table:
    doses = trials(few, size, "doses", at_doses, cache)
    faults = {kind: trials(few, size, kind.name.lower(), with_fault(kind), cache) for kind in HeldOut}
    rows = tuple(_ranking(entry, doses, faults, resamples) for entry in entries)
    notes = (
        f"Mean Spearman correlation over {len(few)} slices of validation patients: of the score with the dose "
        f"({', '.join(f'{dose:.0%}' for dose in DOSES)} of the reference scanner), and of its fall with the five "
        "levels of faults that no training sees. The slices are denoised first.",
    )
    return Table("TFKT: ranking by dose and by severity", ("dose", *HeldOut), rows, notes)


def _beside_poster(table: Table) -> Table:
    return replace(table, rows=(*POSTER, *table.rows))


def _agreement(
    title: str,
    held_out: Sequence[Example],
    entries: Sequence[_Entry],
    missing: Sequence[Row],
    resamples: int,
    notes: tuple[str, ...],
) -> Table:
    truth = np.asarray([example.score for example in held_out])
    patients = [example.group for example in held_out]
    rows = []
    for entry in entries:
        predicted = np.concatenate([entry.score(example.load()[None]) for example in held_out])
        figures = tuple(bootstrap(one, predicted, truth, patients, resamples) for one in _STATISTICS)
        rows.append(Row(entry.name, figures))
    return Table(title, _COLUMNS, (*rows, *missing), notes)


def _ranking(entry: _Entry, doses: Sequence[Trial], faults: dict[HeldOut, list[Trial]], resamples: int) -> Row:
    falling = -np.asarray(LEVELS, dtype=np.float64)
    cells = [_mean_spearman(entry, doses, np.asarray(DOSES), resamples)]
    cells += [_mean_spearman(entry, some, falling, resamples) for some in faults.values()]
    return Row(entry.name, tuple(cells))


def _mean_spearman(entry: _Entry, some: Sequence[Trial], truth: Values, resamples: int) -> Figure:
    """Mean over slices; a score that never changes ranks nothing and counts as 0."""
    each = np.nan_to_num([srcc(entry.score(network_input(trial.hu)[:, 0]), truth) for trial in some])
    return bootstrap(lambda values, _: float(values.mean()), each, each, [trial.patient for trial in some], resamples)


def _of_pairs(both: Sequence[Trial], entries: Sequence[_Entry]) -> Table:
    rows = []
    for entry in entries:
        scores = np.stack([entry.score(network_input(pair.hu)[:, 0]) for pair in both])
        right = int((scores[:, 0] > scores[:, 1]).sum())
        means = tuple(Figure(float(mean)) for mean in scores.mean(axis=0))
        rows.append(Row(entry.name, (f"{right} of {len(both)}", *means)))
    columns = ("full dose scored higher", "mean at full dose", "mean at quarter dose")
    return Table("TFKT on real pairs of full and quarter dose", columns, tuple(rows))
