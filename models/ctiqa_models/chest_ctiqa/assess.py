"""The Chest CT-IQA assessor: window, exposure, SNR, BRISQUE and a score of 1–10 of a chest; or the reason why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch

from ctiqa_models.api import (
    Assessment,
    Classification,
    HuVolume,
    Measurement,
    ModelIdentity,
    Progress,
    Status,
)
from ctiqa_models.chest_ctiqa.build import build_of
from ctiqa_models.chest_ctiqa.domain import view_of
from ctiqa_models.chest_ctiqa.fit import PUBLISHED, Fit, grade
from ctiqa_models.chest_ctiqa.judgement import FLIPS, Judgement, judge
from ctiqa_models.chest_ctiqa.labels import Window
from ctiqa_models.chest_ctiqa.preprocess import evenly_spaced, network_input, slice_channels, slice_maps
from ctiqa_models.chest_ctiqa.release import Release, objection_to, read_release
from ctiqa_models.chest_ctiqa.scanner import Exposure
from ctiqa_models.device import device_of
from ctiqa_models.n2q.domain import Objection
from ctiqa_models.plausible import finite_hu, odd_shape
from ctiqa_models.weights import WeightsFile

NAME = "chest_ctiqa"


class ChestCtiqa:
    """Chest CT-IQA with the weights that ship (or others that `train` wrote), and a fit to readers.

    Measures `chest_ctiqa_score` (1–10), its `chest_ctiqa_score_spread` (standard deviation over flipped copies),
    `chest_ctiqa_snr` and `chest_ctiqa_brisque`, all of the series; classifies `chest_ctiqa_window`,
    `chest_ctiqa_exposure` (of the virtual reference scanner) and `chest_ctiqa_grade`, each with all its classes, the
    likeliest first. The probability of a grade is the share of the flipped copies that get it. Looks at some evenly
    spaced slices, however many there are. `device` is "auto", "cpu", "cuda" or any other that torch knows. Raises
    WeightsError.
    """

    def __init__(self, file: WeightsFile, fit: Fit = PUBLISHED, device: str = "auto") -> None:
        self._release = read_release(file)
        self._device = device_of(device)
        self._network = self._release.network.to(self._device)
        self._fit = fit
        self._identity = _identity(self._release, fit, file.sha256)

    @property
    def identity(self) -> ModelIdentity:
        """Name, version and provenance; the summary tells whose coefficients make the score."""
        return self._identity

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        """Assess one volume; NOT_SCORED with a reason when it is no chest like those in training."""
        odd = odd_shape(volume)
        if odd:
            return self._not_scored(odd)
        hu = torch.cat([finite_hu(volume, index, 1) for index in self._chosen(volume)])
        pixel_mm = volume.spacing_mm[1]
        view = view_of(build_of(hu, pixel_mm), pixel_mm * hu.shape[-1], pixel_mm)
        progress(0.5)
        shape = self._release.recipe.shape
        maps = slice_maps(slice_channels(hu, pixel_mm, shape), pixel_mm, shape)
        judgement, seen = judge(self._network, network_input(maps, shape.slices))
        progress(1.0)
        objection = objection_to(self._release, view, seen)
        return self._scored(judgement) if objection is None else self._not_scored(objection)

    def _chosen(self, volume: HuVolume) -> list[int]:
        return evenly_spaced(len(volume.hu), self._release.recipe.slices)

    def _scored(self, judgement: Judgement) -> Assessment:
        features = judgement.features()
        scores = [self._fit.score(judgement.features(copy)) for copy in range(len(FLIPS))]
        return Assessment(
            identity=self._identity,
            status=Status.SCORED,
            measurements=(
                Measurement(f"{NAME}_score", self._fit.score(features), "1"),
                Measurement(f"{NAME}_score_spread", float(np.std(scores)), "1"),
                Measurement(f"{NAME}_snr", features.snr, "1"),
                Measurement(f"{NAME}_brisque", features.brisque, "1"),
            ),
            classifications=(
                *_classes("window", {one.words: judgement.window[:, one].mean() for one in Window}),
                *_classes("exposure", {one.words: judgement.exposure[:, one].mean() for one in Exposure}),
                *_classes("grade", {word: n / len(scores) for word, n in Counter(map(grade, scores)).items()}),
            ),
        )

    def _not_scored(self, objection: Objection) -> Assessment:
        return Assessment.not_scored(self._identity, objection.code, objection.sentence)


def _classes(name: str, shares: dict[str, float]) -> Iterator[Classification]:
    """All classes, the likeliest first."""
    for label, share in sorted(shares.items(), key=lambda one: -one[1]):
        yield Classification(f"{NAME}_{name}", label, float(share))


def _identity(release: Release, fit: Fit, sha256: str) -> ModelIdentity:
    version = release.recipe.version
    return ModelIdentity(
        name=NAME,
        version=version if fit.is_published else f"{version}, calibrated {fit.fitted_at[:10]}",
        summary=(
            "Window, exposure (of a virtual reference scanner), SNR and BRISQUE of a chest series as a 3D network "
            f"predicts them, and a score of 1–10 from them with {fit.told()} (Chest CT-IQA, Xun et al.)."
        ),
        trained_on=release.trained_on,
        weights_sha256=sha256,
    )
