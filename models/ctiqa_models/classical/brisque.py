"""BRISQUE of every slice as a reader would see it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ctiqa_models.api import (
    Assessment,
    ByteArray,
    FloatArray,
    HuVolume,
    Measurement,
    ModelIdentity,
    Progress,
    ReasonCode,
    Status,
)
from ctiqa_models.classical.brisque_features import brisque_features
from ctiqa_models.classical.brisque_regression import LiveRegression

WINDOW_CENTRE_HU = 40.0
WINDOW_WIDTH_HU = 400.0
_SMALLEST_SIDE = 16
_LEAST_VARIED_SHARE = 0.01


class Brisque:
    """Blind/Referenceless Image Spatial Quality Evaluator, averaged over all slices (none is skipped for speed).

    BRISQUE is defined on 8-bit pictures. Each slice is therefore shown through the soft-tissue VOI window (centre 40,
    width 400 HU) in 256 grey values, the picture in which both noise and blur of CT are read; a fixed window makes the
    values of different series comparable, whatever their tags ask for. Low is good. The regression learnt from
    photographs, so the number ranks CT images only roughly: Chest CT-IQA says the same.
    """

    def __init__(self) -> None:
        self._regression = LiveRegression()
        self.identity = ModelIdentity(
            name="brisque",
            version="1",
            summary=(
                "BRISQUE of each slice in the soft-tissue window (40/400 HU, 8 bit), averaged over slices; "
                "Mittal, Moorthy, Bovik, IEEE Trans. Image Process. 21(12), 2012."
            ),
            trained_on="LIVE image quality database (natural photographs)",
            weights_sha256=self._regression.sha256,
        )

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        """Assess one volume; a slice that shows next to nothing in the window is left out and named."""
        features: dict[int, npt.NDArray[np.float64]] = {}
        unscored: dict[int, str] = {}
        count = len(volume.hu)
        for index, slice_hu in enumerate(volume.hu):
            picture = soft_tissue_picture(slice_hu)
            reason = _why_not(picture)
            found = brisque_features(picture / 255.0) if reason is None else np.full(36, np.nan)
            if np.isfinite(found).all():
                features[index] = found
            else:
                unscored[index] = reason or "too uniform in the soft-tissue window"
            progress((index + 1) / count)
        if not features:
            why = "no slice shows enough in the soft-tissue window"
            return Assessment.not_scored(self.identity, ReasonCode.TOO_LITTLE, why)
        return self._assessment(features, unscored)

    def _assessment(self, features: dict[int, npt.NDArray[np.float64]], unscored: dict[int, str]) -> Assessment:
        scores = self._regression.predict(np.stack(list(features.values())))
        series = Measurement("brisque", float(np.mean(scores)), "1")
        slices = (Measurement("brisque", score, "1", index) for index, score in zip(features, scores, strict=True))
        return Assessment(self.identity, Status.SCORED, measurements=(series, *slices), unscored_slices=unscored)


def soft_tissue_picture(hu: FloatArray) -> ByteArray:
    """Show HU through the soft-tissue VOI window: uint8 of the same shape, 0 at −160 HU and below, 255 from 240 HU."""
    low = WINDOW_CENTRE_HU - WINDOW_WIDTH_HU / 2
    shown: ByteArray = np.rint(np.clip((hu - low) / WINDOW_WIDTH_HU, 0.0, 1.0) * 255.0).astype(np.uint8)
    return shown


def _why_not(picture: ByteArray) -> str | None:
    if min(picture.shape) < _SMALLEST_SIDE:
        return f"smaller than {_SMALLEST_SIDE} pixels"
    varied = 1.0 - np.bincount(picture.ravel()).max() / picture.size
    if varied < _LEAST_VARIED_SHARE:
        return "shows one grey value only in the soft-tissue window"
    return None
