"""The pictures that N2Q is measured on: held-out slices on the virtual scanner and as they came, and real pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ctiqa_models.evaluation.figures import Figure, Values, bootstrap
from ctiqa_models.n2q.batches import STANDARD_KERNEL, Bases, Batch, Pair, at_dose, collate
from ctiqa_models.n2q.body import find_anatomy
from ctiqa_models.n2q.network import DOSE_CLASSES
from ctiqa_models.n2q.predict import predict
from ctiqa_models.n2q.preprocess import to_matrix
from ctiqa_models.n2q.ssim import ssim_map
from ctiqa_models.n2q.variants import MapNetwork
from ctiqa_models.simulation.dose import interpolate_dose

_QUARTER = 0.25
_DOSES = (1.0, *DOSE_CLASSES)
_PAIR = ("full", "quarter")


@dataclass(frozen=True, slots=True)
class Picture:
    """How well the map of one picture was predicted; maps and means in 0–1."""

    patient: str
    dose: float
    dose_class: int
    found_class: int
    mse: float
    ssim: float
    """Between the predicted and the true SSIM map."""
    constant_mse: float
    constant_ssim: float
    """The same two for a constant map with the true mean: what knowing one number would reach."""
    body: tuple[float, float]
    """Predicted and true mean over the body."""
    tissue: tuple[float, float]
    """Predicted and true mean over soft tissue, which is what the node reports."""


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Pictures of one kind; their figures have intervals over `resamples` of their patients."""

    name: str
    pictures: Sequence[Picture]
    resamples: int

    def figure(
        self, statistic: Callable[[Values, Values], float], of: Callable[[Picture], tuple[float, float]]
    ) -> Figure:
        """A statistic over two numbers of each picture below full dose."""
        below = [picture for picture in self.pictures if picture.dose < 1]
        first, second = np.asarray([of(picture) for picture in below], dtype=np.float64).T
        return bootstrap(statistic, first, second, [picture.patient for picture in below], self.resamples)

    def mean(self, of: Callable[[Picture], float]) -> Figure:
        """The mean of one number."""
        return self.figure(lambda first, _: float(first.mean()), lambda picture: (of(picture), 0.0))

    def share_within(self, classes: int) -> Figure:
        """How often the dose class is right, or this many classes away from it at most."""

        def share(found: Values, truth: Values) -> float:
            return float((np.abs(found - truth) <= classes).mean())

        return self.figure(share, lambda picture: (picture.found_class, picture.dose_class))

    def full_above_quarter(self) -> str:
        """How many slices have a higher predicted mean over soft tissue at full than at quarter dose."""
        full, quarter = (
            [picture.tissue[0] for picture in self.pictures if picture.dose == dose] for dose in (1.0, _QUARTER)
        )
        return f"{sum(more > less for more, less in zip(full, quarter, strict=True))} of {len(full)}"

    def confusion(self) -> npt.NDArray[np.int64]:
        """Pictures by true (rows) and found (columns) dose class."""
        table = np.zeros((len(DOSE_CLASSES),) * 2, dtype=np.int64)
        for picture in self.pictures:
            if picture.dose < 1:
                table[picture.dose_class, picture.found_class] += 1
        return table


def on_virtual_scanner(network: MapNetwork, bases: Bases, channels: int, kernel: int) -> list[Picture]:
    """Every slice, denoised, with the scanner's noise at full and at each lower dose; `kernel` as in batches.py."""
    return list(_measure(network, channels, _series(bases, kernel, denoised=True)))


def as_they_came(network: MapNetwork, bases: Bases, channels: int) -> list[Picture]:
    """Every slice as it came, whose own noise no dose is known of, and at each dose with more of it."""
    return list(_measure(network, channels, _series(bases, STANDARD_KERNEL, denoised=False)))


def of_pairs(network: MapNetwork, files: Iterable[Path], channels: int) -> list[Picture]:
    """Real full- and quarter-dose pairs, at full dose and mixed to each dose by N2Q's formula."""
    return list(_measure(network, channels, map(_read_pair, files)))


def _series(bases: Bases, kernel: int, denoised: bool) -> Iterator[tuple[str, list[Pair]]]:
    for index, patient in enumerate(bases.patients):
        yield patient, [at_dose(bases, index, kernel, dose, denoised) for dose in _DOSES]


def _read_pair(file: Path) -> tuple[str, list[Pair]]:
    with np.load(file) as kept:
        full, quarter = (to_matrix(torch.from_numpy(kept[name].astype(np.float32))[None])[0] for name in _PAIR)
    pictures = [full if dose == 1 else interpolate_dose(full, quarter, dose) for dose in _DOSES]
    # The patient's name is the second word of the file's.
    return file.stem.split("_")[1], [Pair(full, picture, -1) for picture in pictures]


def _measure(network: MapNetwork, channels: int, series: Iterable[tuple[str, list[Pair]]]) -> Iterator[Picture]:
    device = next(network.parameters()).device
    for patient, pairs in series:
        batch = collate(pairs)
        seen = predict(network.look, batch.hu.to(device), channels)
        quality, found = seen.quality.cpu(), seen.doses.argmax(dim=1).tolist()
        for row, dose in enumerate(_DOSES):
            yield _compare(patient, dose, int(found[row]), quality[row], batch, row)


def _compare(patient: str, dose: float, found: int, predicted: torch.Tensor, batch: Batch, row: int) -> Picture:
    truth = batch.quality[row, 0]
    constant = torch.full_like(truth, float(truth.mean()))
    anatomy = find_anatomy(batch.hu[row].numpy())
    body, tissue = torch.from_numpy(anatomy.body), torch.from_numpy(anatomy.tissue)
    return Picture(
        patient=patient,
        dose=dose,
        dose_class=DOSE_CLASSES.index(dose) if dose in DOSE_CLASSES else -1,
        found_class=found,
        mse=float(((predicted - truth) ** 2).mean()),
        ssim=float(ssim_map(predicted[None, None], truth[None, None]).mean()),
        constant_mse=float(((constant - truth) ** 2).mean()),
        constant_ssim=float(ssim_map(constant[None, None], truth[None, None]).mean()),
        body=(float(predicted[body].mean()), float(truth[body].mean())),
        tissue=(float(predicted[tissue].mean()), float(truth[tissue].mean())),
    )
