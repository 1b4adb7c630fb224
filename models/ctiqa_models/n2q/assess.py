"""The N2Q assessor: quality of every slice and of the series, maps, and a dose class; or the reason why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

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
from ctiqa_models.n2q.body import Anatomy, find_anatomy, measure
from ctiqa_models.n2q.domain import Objection
from ctiqa_models.n2q.evaluate import predict
from ctiqa_models.n2q.network import DOSE_CLASSES
from ctiqa_models.n2q.preprocess import SIZE, to_matrix
from ctiqa_models.n2q.release import read_release
from ctiqa_models.weights import WeightsFile

_CHUNK = 8
_LEAST_SHARE = 0.5
_SQUARE = 0.02
_SUMMARY = (
    "Mean over soft tissue of the structural similarity to a full-dose slice that a U-Net predicts from the slice "
    "alone (Noise2Quality, N2Q), and its dose class relative to a virtual reference scanner."
)


@dataclass(slots=True)
class _Findings:
    """What is known of a volume so far."""

    maps: npt.NDArray[np.uint8]
    quality: dict[int, float] = field(default_factory=dict)
    doses: list[npt.NDArray[np.float32]] = field(default_factory=list)
    objections: dict[int, Objection] = field(default_factory=dict)


class N2q:
    """Noise2Quality as an Assessor.

    Measures `n2q_quality` per slice and for the series (unit 1, 0–1: the predicted SSIM, averaged over the soft tissue
    of the body) and `n2q_quality_spread` (standard deviation over slices); classifies `n2q_dose`, all five classes, the
    likeliest first; paints `n2q_map`, 256×256, where slices that were left out stay 0.

    Slices unlike those in training are left out; when fewer than half remain the volume is not scored. `device` is
    "auto" (a GPU when there is one), "cpu", "cuda" or any other that torch knows. Raises WeightsError.
    """

    def __init__(self, file: WeightsFile, device: str = "auto") -> None:
        release = read_release(file)
        self._device = torch.device(_device_name(device))
        self._network = release.network.to(self._device)
        self._channels = release.recipe.channels
        self._domain = release.domain
        self._identity = ModelIdentity(
            name="n2q",
            version=release.recipe.version,
            summary=_SUMMARY,
            trained_on=release.trained_on,
            weights_sha256=file.sha256,
        )

    @property
    def identity(self) -> ModelIdentity:
        """Name, version and provenance."""
        return self._identity

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        """Assess one volume, a few slices at a time; NOT_SCORED with a reason when it is unlike the training data."""
        count = len(volume.hu)
        odd_shape = _odd_shape(volume)
        if odd_shape:
            return self._not_scored(odd_shape)
        findings = _Findings(np.zeros((count, SIZE, SIZE), dtype=np.uint8))
        for start in range(0, count, _CHUNK):
            self._assess_chunk(volume, start, findings)
            progress(min(start + _CHUNK, count) / count)
        if len(findings.quality) < max(1, _LEAST_SHARE * count):
            return self._not_scored(_why_not(findings.objections.values(), count))
        return self._scored(findings)

    def _assess_chunk(self, volume: HuVolume, start: int, findings: _Findings) -> None:
        """Judge the slices from `start` on, and send those in the domain through the network."""
        raw = np.nan_to_num(
            volume.hu[start : start + _CHUNK].astype(np.float32), nan=-1024.0, posinf=3071.0, neginf=-1024.0
        )
        hu = to_matrix(torch.from_numpy(raw))
        field_of_view_mm = volume.spacing_mm[1] * volume.hu.shape[1]
        accepted: dict[int, Anatomy] = {}
        for offset, one in enumerate(hu.numpy()):
            anatomy = find_anatomy(one)
            objection = self._domain.objection(measure(one, anatomy, field_of_view_mm))
            if objection:
                findings.objections[start + offset] = objection
            else:
                accepted[offset] = anatomy
        if not accepted:
            return
        quality, doses = predict(self._network, hu[list(accepted)].to(self._device), self._channels)
        findings.doses.extend(doses.cpu().numpy())
        for (offset, anatomy), painted in zip(accepted.items(), quality.cpu().numpy(), strict=True):
            findings.maps[start + offset] = np.rint(painted * 255)
            findings.quality[start + offset] = float(painted[anatomy.tissue].mean())

    def _scored(self, findings: _Findings) -> Assessment:
        values = np.asarray(list(findings.quality.values()))
        series = (
            Measurement("n2q_quality", float(values.mean()), "1"),
            Measurement("n2q_quality_spread", float(values.std()), "1"),
        )
        slices = tuple(Measurement("n2q_quality", value, "1", index) for index, value in findings.quality.items())
        return Assessment(
            identity=self._identity,
            status=Status.SCORED,
            measurements=series + slices,
            classifications=tuple(_dose_classes(np.mean(findings.doses, axis=0))),
            maps=QualityMaps("n2q_map", findings.maps),
            unscored_slices={index: objection.sentence for index, objection in findings.objections.items()},
        )

    def _not_scored(self, reason: str) -> Assessment:
        return Assessment(identity=self._identity, status=Status.NOT_SCORED, reason=reason)


def _device_name(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _odd_shape(volume: HuVolume) -> str | None:
    """Why the slices' shape is one that training never saw."""
    rows, columns = volume.hu.shape[1:]
    height, width = rows * volume.spacing_mm[1], columns * volume.spacing_mm[2]
    if abs(height / width - 1) > _SQUARE:
        return f"the slices measure {width:.0f} × {height:.0f} mm, and the model has only seen square ones"
    return None


def _why_not(objections: Iterable[Objection], count: int) -> str:
    """A sentence about the commonest objection."""
    everyone = list(objections)
    commonest = Counter(objection.feature for objection in everyone).most_common(1)[0][0]
    example = next(objection.sentence for objection in everyone if objection.feature == commonest)
    return (
        f"{len(everyone)} of {count} slices are unlike the adult chests and abdomens that the model was trained on; "
        f"most often: {example}"
    )


def _dose_classes(probabilities: npt.NDArray[np.float32]) -> Iterator[Classification]:
    """All classes, the likeliest first."""
    for index in np.argsort(-probabilities):
        yield Classification("n2q_dose", f"{DOSE_CLASSES[index]:.0%}".replace("%", " %"), float(probabilities[index]))
