"""The global noise level of a series: the commonest local standard deviation in soft tissue."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from ctiqa_models.api import Assessment, FloatArray, HuVolume, Measurement, ModelIdentity, Progress, ReasonCode, Status
from ctiqa_models.filters import box_mean, highest, lowest

_KERNEL_MM = 6.0
_LEAST_KERNEL_PIXELS = 5
_SOFT_TISSUE_HU = (0.0, 100.0)
# What noise of up to about 120 HU makes of soft tissue within 81 samples; lung, gas and bone lie outside.
_NO_OTHER_TISSUE_HU = (-250.0, 350.0)
_LEAST_TISSUE_MM2 = 1000.0
_PADDING_HU = -1024.0

# Bins grow by 2 %, because the spread of a standard deviation is proportional to it; smoothing by 3 bins is about the
# spread that 81 samples have anyway, so it steadies the peak without moving it.
_BIN_EDGES_HU = np.geomspace(0.25, 1000.0, 420)
_BIN_CENTRES_HU = np.sqrt(_BIN_EDGES_HU[1:] * _BIN_EDGES_HU[:-1])
_SMOOTHING_BINS = 3.0

_Counts = npt.NDArray[np.float64]


class NoiseLevel:
    """Global noise level (Christianson, Winslow, Frush, Samei, Am. J. Roentgenol. 205:W93–W99, 2015), in HU.

    A map of the local standard deviation in a sliding square of 6 mm; its histogram over soft tissue (0–100 HU); the
    mode of that histogram. A pixel counts as soft tissue by the mean of its square, not by its own value, so that at
    high noise the choice does not favour quiet pixels; a square that reaches into lung, gas or bone is left out. Other
    borders of organs fall into the histogram's tail and do not move its mode. The series value is the mode of all
    slices' histograms together. A slice needs 10 cm² of soft tissue. Noise coarser than 6 mm is not seen.
    """

    identity = ModelIdentity(
        name="noise_level",
        version="1",
        summary=(
            "Global noise level: mode of the local standard deviations (6 mm squares) in soft tissue (0–100 HU); "
            "Christianson et al., Am. J. Roentgenol. 205:W93–W99, 2015."
        ),
        trained_on="not trained",
    )

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        """Assess one volume; a slice with under 10 cm² of soft tissue is left out and named."""
        row_mm, column_mm = volume.spacing_mm[1:]
        size = (_kernel_pixels(row_mm), _kernel_pixels(column_mm))
        least = max(1.0, _LEAST_TISSUE_MM2 / (row_mm * column_mm))
        histograms: dict[int, _Counts] = {}
        for index, slice_hu in enumerate(volume.hu):
            histogram = _histogram(slice_hu, size)
            if histogram.sum() >= least:
                histograms[index] = histogram
            progress((index + 1) / len(volume.hu))
        if not histograms:
            why = "no slice has 10 cm² of soft tissue (0–100 HU)"
            return Assessment.not_scored(self.identity, ReasonCode.TOO_LITTLE, why)
        return self._assessment(histograms, len(volume.hu))

    def _assessment(self, histograms: dict[int, _Counts], count: int) -> Assessment:
        pooled = np.sum(list(histograms.values()), axis=0)
        series = Measurement("noise_level", _mode(pooled), "[hnsf'U]")
        slices = (Measurement("noise_level", _mode(counts), "[hnsf'U]", index) for index, counts in histograms.items())
        unscored = {index: "under 10 cm² of soft tissue" for index in range(count) if index not in histograms}
        return Assessment(self.identity, Status.SCORED, measurements=(series, *slices), unscored_slices=unscored)


def _kernel_pixels(spacing_mm: float) -> int:
    """Turn 6 mm into an odd number of pixels."""
    return max(_LEAST_KERNEL_PIXELS, 2 * round((_KERNEL_MM / spacing_mm - 1) / 2) + 1)


def _histogram(hu: FloatArray, size: tuple[int, int]) -> _Counts:
    """Count the local standard deviations in one slice's soft tissue; under 0.25 HU (synthetic fills) they drop out."""
    values = np.maximum(hu, _PADDING_HU).astype(np.float64)
    mean = box_mean(values, size)
    samples = size[0] * size[1]
    variance = (box_mean(values * values, size) - mean * mean) * samples / (samples - 1)
    tissue = (mean >= _SOFT_TISSUE_HU[0]) & (mean <= _SOFT_TISSUE_HU[1])
    tissue &= lowest(values, size) >= _NO_OTHER_TISSUE_HU[0]
    tissue &= highest(values, size) <= _NO_OTHER_TISSUE_HU[1]
    deviations = np.sqrt(np.maximum(variance[tissue], 0.0))
    counts: _Counts = np.histogram(deviations, _BIN_EDGES_HU)[0].astype(np.float64)
    return counts


def _mode(counts: _Counts) -> float:
    """Find the peak of a histogram, in counts per HU, between bins by the parabola through the three highest."""
    density = gaussian_filter1d(counts / np.diff(_BIN_EDGES_HU), _SMOOTHING_BINS, mode="constant")
    peak = int(density.argmax())
    if not 0 < peak < len(density) - 1:
        return float(_BIN_CENTRES_HU[peak])
    below, top, above = (float(value) for value in density[peak - 1 : peak + 2])
    shift = (below - above) / (2 * (below - 2 * top + above))
    return float(_BIN_CENTRES_HU[peak] * (_BIN_EDGES_HU[1] / _BIN_EDGES_HU[0]) ** shift)
