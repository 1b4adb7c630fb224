"""The N2Q assessor: quality of every slice and of the series, maps, and a dose class; or the reason why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ctiqa_models.api import (
    Assessment,
    Classification,
    HuVolume,
    Measurement,
    ModelIdentity,
    Progress,
    QualityMaps,
    Status,
)
from ctiqa_models.compiled import compile_network
from ctiqa_models.device import device_of, slices_at_once
from ctiqa_models.familiarity import Familiarity
from ctiqa_models.looks import Gates
from ctiqa_models.memory import Batch
from ctiqa_models.n2q.body import BoolArray
from ctiqa_models.n2q.domain import Objection
from ctiqa_models.n2q.network import DOSE_CLASSES
from ctiqa_models.n2q.predict import Seen, predict
from ctiqa_models.n2q.preprocess import SIZE, to_matrix
from ctiqa_models.n2q.release import read_release
from ctiqa_models.n2q.variants import MapNetwork
from ctiqa_models.plausible import LEAST_SHARE, finite_hu, odd_shape, why_not
from ctiqa_models.trunk.gate import load_trunk
from ctiqa_models.weights import WeightsFile

_TURNED_SLICES = 8
_TURNS: tuple[tuple[int, ...], ...] = ((0,), (1,), (0, 1))
"""Axes of a slice [y, x] that are flipped, to see how much the quality hangs on how the patient lies."""
_VERDICT = "are unlike the adult chests and abdomens that the model was trained on"
_SUMMARY = (
    "Mean over soft tissue of the structural similarity to a full-dose slice that a U-Net predicts from the slice "
    "alone (Noise2Quality, N2Q), and its dose class: the share of full dose at which a virtual reference scanner, "
    "with exposure control and its standard kernel, would be as noisy."
)


@dataclass(slots=True)
class _Findings:
    """What is known of a volume so far."""

    maps: npt.NDArray[np.uint8]
    turned: frozenset[int]
    """Indices of the slices that are also looked at flipped."""
    quality: dict[int, float] = field(default_factory=dict)
    doses: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)
    deviations: dict[int, float] = field(default_factory=dict)
    """Of the quality of the turned slices over their flips."""
    objections: dict[int, Objection] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Equipment:
    """A network in evaluation mode, the gates before it, and how its results are called."""

    network: MapNetwork
    channels: int
    gates: Gates
    identity: ModelIdentity
    verdict: str
    """What is said of the slices when most of them were left out."""
    has_dose_classes: bool = True
    familiarity: Familiarity | None = None
    """What the network's features are compared with; None when nobody knows what it was trained on."""


class _Looking(nn.Module):
    """A network by its `look`, to be compiled."""

    def __init__(self, network: MapNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map, dose logits and features."""
        return self.network.look(images)


class MapAssessor:
    """An N2Q network as an Assessor; NAME is that of its identity.

    Measures `NAME_quality` per slice and for the series (unit 1, 0–1: the predicted SSIM, averaged over the soft tissue
    of the body), `NAME_quality_spread` (standard deviation over slices) and `NAME_uncertainty` (standard deviation over
    the flips of a slice, averaged over up to eight slices); classifies `NAME_dose`, all five classes, the likeliest
    first; paints `NAME_map`, 256×256, where slices that were left out stay 0.

    Slices to which a gate objects, or whose features are unfamiliar, are left out; when fewer than half remain the
    volume is not scored. `device` is "auto" (a GPU when there is one), "cpu", "cuda" or any other that torch knows;
    `batch` as in `catalog.assessors`.
    """

    def __init__(self, equipment: Equipment, device: str = "auto", batch: int | None = None) -> None:
        self._device = device_of(device)
        shape = (equipment.channels, SIZE, SIZE)
        self._network = compile_network(_Looking(equipment.network), shape, self._device)
        self._batch = Batch(slices_at_once(self._device, batch))
        self._equipment = equipment
        self._identity = equipment.identity

    @property
    def identity(self) -> ModelIdentity:
        """Name, version and provenance."""
        return self._identity

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        """Assess one volume, a few slices at a time; NOT_SCORED with a reason when it is unlike the training data."""
        count = len(volume.hu)
        odd = odd_shape(volume)
        if odd:
            return self._not_scored(odd)
        turned = frozenset(np.linspace(0, count - 1, min(count, _TURNED_SLICES)).round().astype(int).tolist())
        findings = _Findings(np.zeros((count, SIZE, SIZE), dtype=np.uint8), turned)
        self._batch.over(count, lambda start, size: self._assess_some(volume, start, size, findings), progress)
        if len(findings.quality) < max(1, LEAST_SHARE * count):
            return self._not_scored(why_not(findings.objections.values(), count, self._equipment.verdict))
        return self._scored(findings)

    def _assess_some(self, volume: HuVolume, start: int, size: int, findings: _Findings) -> None:
        """Judge `size` slices from `start` on, and send those in the domain through the network."""
        hu = to_matrix(finite_hu(volume, start, size))
        looks, objections = self._equipment.gates.look(volume, start, hu.numpy())
        findings.objections |= {start + offset: one for offset, one in enumerate(objections) if one is not None}
        accepted = [offset for offset, one in enumerate(objections) if one is None]
        if not accepted:
            return
        places = [start + offset for offset in accepted]
        self._judge(hu[accepted].to(self._device), places, [looks[offset].tissue for offset in accepted], findings)

    def _judge(self, hu: torch.Tensor, places: list[int], tissues: list[BoolArray], findings: _Findings) -> None:
        """Send slices [z, 256, 256] through the network; `places` are their indices in the volume."""
        seen = predict(self._network, hu, self._equipment.channels)
        quality, doses = seen.quality.cpu().numpy(), seen.doses.cpu().numpy()
        for row, (place, tissue, stranger) in enumerate(zip(places, tissues, self._strangers(seen), strict=True)):
            if stranger:
                findings.objections[place] = stranger
                continue
            findings.doses[place] = doses[row]
            findings.maps[place] = np.rint(quality[row] * 255)
            findings.quality[place] = float(quality[row][tissue].mean())
            if place in findings.turned:
                findings.deviations[place] = self._deviation(hu[row], tissue, findings.quality[place])

    def _strangers(self, seen: Seen) -> list[Objection | None]:
        """For each slice, why the network does not know its like; None when it does."""
        known = self._equipment.familiarity
        if known is None:
            return [None] * len(seen.features)
        return [known.objection(distance) for distance in known.distance(seen.features.cpu()).tolist()]

    def _deviation(self, hu: torch.Tensor, tissue: BoolArray, upright: float) -> float:
        """Standard deviation of a slice's quality over its flips; the method knows no up or down, the network may."""
        flips = torch.stack([hu.flip(axes) for axes in _TURNS])
        quality = predict(self._network, flips, self._equipment.channels).quality.cpu().numpy()
        values = [upright]
        for axes, painted in zip(_TURNS, quality, strict=True):
            values.append(float(np.flip(painted, axes)[tissue].mean()))
        return float(np.std(values))

    def _scored(self, findings: _Findings) -> Assessment:
        values = np.asarray(list(findings.quality.values()))
        name = self._identity.name
        series: tuple[Measurement, ...] = (
            Measurement(f"{name}_quality", float(values.mean()), "1"),
            Measurement(f"{name}_quality_spread", float(values.std()), "1"),
        )
        if findings.deviations:
            series += (Measurement(f"{name}_uncertainty", float(np.mean(list(findings.deviations.values()))), "1"),)
        slices = tuple(Measurement(f"{name}_quality", value, "1", index) for index, value in findings.quality.items())
        doses = np.mean(list(findings.doses.values()), axis=0)
        return Assessment(
            identity=self._identity,
            status=Status.SCORED,
            measurements=series + slices,
            classifications=tuple(_dose_classes(name, doses)) if self._equipment.has_dose_classes else (),
            maps=QualityMaps(f"{name}_map", findings.maps),
            unscored_slices={index: objection.sentence for index, objection in findings.objections.items()},
        )

    def _not_scored(self, objection: Objection) -> Assessment:
        return Assessment.not_scored(self._identity, objection.code, objection.sentence)


class N2q(MapAssessor):
    """Noise2Quality with the weights that ship (or others that `train` wrote). Raises WeightsError."""

    def __init__(self, file: WeightsFile, device: str = "auto", batch: int | None = None) -> None:
        release = read_release(file)
        identity = ModelIdentity(
            name="n2q",
            version=release.recipe.version,
            summary=_SUMMARY,
            trained_on=release.trained_on,
            weights_sha256=file.sha256,
        )
        equipment = Equipment(
            network=release.network,
            channels=release.recipe.row.channels,
            gates=Gates(release.domain, load_trunk()),
            identity=identity,
            verdict=_VERDICT,
            familiarity=release.familiarity,
        )
        super().__init__(equipment, device, batch)


def _dose_classes(name: str, probabilities: npt.NDArray[np.float32]) -> Iterator[Classification]:
    """All classes, the likeliest first."""
    for index in np.argsort(-probabilities):
        share = f"{DOSE_CLASSES[index]:.0%}".replace("%", " %")
        yield Classification(f"{name}_dose", share, float(probabilities[index]))
