"""Signal-to-noise ratio of a series as Chest CT-IQA takes it: mean over standard deviation in small sub-volumes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ctiqa_models.api import Assessment, FloatArray, HuVolume, Measurement, ModelIdentity, Progress, ReasonCode, Status

_GREY_OFFSET_HU = 1024.0
_SIDE_MM = 10.0
_LEAST_SIDE_PIXELS = 4
_AIR_BELOW_HU = -900.0
_LEAST_DEVIATION_HU = 1.0


class Snr:
    """Mean over standard deviation of grey values in sub-volumes, averaged over the volume (Chest CT-IQA, section 2.3).

    The paper leaves three things open. Grey values: here HU + 1024, the unsigned number that CT scanners store, so that
    water is 1024 and not 0, and a sign cannot flip the ratio; lower values, which only padding has, become 0. Size:
    cubes of 10 mm, as wide as the sub-volume fits between vessels and tissue borders and still holding hundreds of
    voxels. Which ones: those that are mostly air (mean below −900 HU: outside the body, trachea, bowel gas) say nothing
    about the patient and are left out, and so are those with a standard deviation under 1 HU, which no scan reaches
    (saturated metal, synthetic fills) and which would outweigh all others. The value of a slice is the same ratio over
    squares of 10 mm in that slice alone, so that one noisy slice shows. Structure counts as noise: compare like scans.
    """

    identity = ModelIdentity(
        name="snr",
        version="1",
        summary=(
            "Mean over standard deviation of grey values (HU + 1024) in 10 mm sub-volumes of the patient, averaged "
            "over the volume, as Chest CT-IQA defines its SNR."
        ),
        trained_on="not trained",
    )

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        """Assess one volume; a slice without any sub-volume of tissue is left out of the slice values and named."""
        count, height, width = volume.hu.shape
        side_y, side_x = (_side_pixels(spacing) for spacing in volume.spacing_mm[1:])
        if height < side_y or width < side_x:
            why = "the slices are smaller than one 10 mm sub-volume"
            return Assessment.not_scored(self.identity, ReasonCode.SMALL_MATRIX, why)
        ratios: list[npt.NDArray[np.float64]] = []
        slices: dict[int, float] = {}
        for first, last in _layers(count, volume.spacing_mm[0]):
            layer = [_block_sums(slice_hu, side_y, side_x) for slice_hu in volume.hu[first:last]]
            sums, squares = (np.sum(part, axis=0) for part in zip(*layer, strict=True))
            voxels = side_y * side_x
            ratios.append(_ratios(sums, squares, voxels * len(layer)))
            for index, in_slice in enumerate((_ratios(*part, voxels) for part in layer), start=first):
                if in_slice.size:
                    slices[index] = float(in_slice.mean())
            progress(last / count)
        return self._assessment(np.concatenate(ratios), slices, count)

    def _assessment(self, ratios: npt.NDArray[np.float64], slices: dict[int, float], count: int) -> Assessment:
        if not ratios.size:
            why = "no sub-volume of varying tissue in the volume"
            return Assessment.not_scored(self.identity, ReasonCode.TOO_LITTLE, why)
        series = Measurement("snr", float(ratios.mean()), "1")
        each = (Measurement("snr", value, "1", index) for index, value in slices.items())
        unscored = {index: "no varying tissue in the slice" for index in range(count) if index not in slices}
        return Assessment(self.identity, Status.SCORED, measurements=(series, *each), unscored_slices=unscored)


def _side_pixels(spacing_mm: float) -> int:
    return max(_LEAST_SIDE_PIXELS, round(_SIDE_MM / spacing_mm))


def _layers(count: int, spacing_mm: float) -> Iterator[tuple[int, int]]:
    """Cut all slices into layers as even as can be, each about 10 mm thick and at least one slice."""
    layers = min(count, max(1, round(count * spacing_mm / _SIDE_MM)))
    edges = np.linspace(0, count, layers + 1).round().astype(int)
    for first, last in pairwise(edges):
        yield int(first), int(last)


def _block_sums(hu: FloatArray, side_y: int, side_x: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sum grey values and their squares over the blocks of one slice [y, x]; a rest at the edges is left out."""
    height, width = hu.shape
    blocks_y, blocks_x = height // side_y, width // side_x
    top, left = (height - blocks_y * side_y) // 2, (width - blocks_x * side_x) // 2
    inner = hu[top : top + blocks_y * side_y, left : left + blocks_x * side_x]
    grey = np.maximum(inner.astype(np.float64) + _GREY_OFFSET_HU, 0.0)
    blocks = grey.reshape(blocks_y, side_y, blocks_x, side_x)
    return blocks.sum(axis=(1, 3)), (blocks * blocks).sum(axis=(1, 3))


def _ratios(sums: npt.NDArray[np.float64], squares: npt.NDArray[np.float64], voxels: int) -> npt.NDArray[np.float64]:
    """Mean over standard deviation of each block that is tissue and varies: float64 [n]."""
    mean = sums / voxels
    deviation = np.sqrt(np.maximum(squares / voxels - mean * mean, 0.0))
    counted = (mean >= _AIR_BELOW_HU + _GREY_OFFSET_HU) & (deviation >= _LEAST_DEVIATION_HU)
    return np.asarray(mean[counted] / deviation[counted], dtype=np.float64)
