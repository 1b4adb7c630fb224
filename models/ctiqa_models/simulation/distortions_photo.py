"""The 25 distortions × 5 levels of KADID-10k, over photographs.

Lin, Hosu & Saupe, "KADID-10k: A Large-scale Artificially Distorted IQA Database", QoMEX 2019,
doi:10.1109/QoMEX.2019.8743252: the list is its Table II; the parameters of the levels are those of its authors' public
generator. Where their Matlab toolbox has no twin in Python, the function says what stands in for it. Two things are
theirs and worth knowing: level 1 of `GAUSSIAN_BLUR`, `MOTION_BLUR` and `SATURATION_LAB` and level 3 of `MEAN_SHIFT`
change nothing that one can see; and `MEAN_SHIFT` and `CONTRAST` get weaker towards level 3 and then go the other way.
Values that leave the range are clipped; the generator's last step, which stretches every image to the full range, is
left out, because it would take the shift out of `MEAN_SHIFT`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np

from ctiqa_models.api import ByteArray, FloatArray
from ctiqa_models.simulation import photo_blurs as blurs
from ctiqa_models.simulation import photo_coding as coding
from ctiqa_models.simulation import photo_colour as colour
from ctiqa_models.simulation import photo_noise as noise
from ctiqa_models.simulation import photo_spatial as spatial
from ctiqa_models.simulation import photo_tone as tone

LEVELS = (1, 2, 3, 4, 5)


class PhotoDistortion(IntEnum):
    """The distortions by their numbers in KADID-10k's file names (`I01_NN_LL.png`)."""

    GAUSSIAN_BLUR = 1
    LENS_BLUR = 2
    MOTION_BLUR = 3
    COLOUR_DIFFUSION = 4
    COLOUR_SHIFT = 5
    COLOUR_QUANTISATION = 6
    SATURATION_HSV = 7
    SATURATION_LAB = 8
    JPEG2000 = 9
    JPEG = 10
    WHITE_NOISE = 11
    WHITE_NOISE_YCBCR = 12
    IMPULSE_NOISE = 13
    MULTIPLICATIVE_NOISE = 14
    DENOISE = 15
    BRIGHTEN = 16
    DARKEN = 17
    MEAN_SHIFT = 18
    JITTER = 19
    NON_ECCENTRICITY_PATCH = 20
    PIXELATE = 21
    QUANTISATION = 22
    COLOUR_BLOCK = 23
    HIGH_SHARPEN = 24
    CONTRAST = 25


_Operation = Callable[[FloatArray, float, np.random.Generator], FloatArray]

_TABLE: dict[PhotoDistortion, tuple[_Operation, tuple[float, float, float, float, float]]] = {
    PhotoDistortion.GAUSSIAN_BLUR: (blurs.gaussian_blur, (0.1, 0.5, 1, 2, 5)),
    PhotoDistortion.LENS_BLUR: (blurs.lens_blur, (1, 2, 4, 6, 8)),
    PhotoDistortion.MOTION_BLUR: (blurs.motion_blur, (1, 2, 4, 6, 10)),
    PhotoDistortion.COLOUR_DIFFUSION: (colour.diffusion, (1, 3, 6, 8, 12)),
    PhotoDistortion.COLOUR_SHIFT: (colour.shift, (1, 3, 6, 8, 12)),
    PhotoDistortion.COLOUR_QUANTISATION: (colour.quantisation, (64, 48, 32, 16, 8)),
    PhotoDistortion.SATURATION_HSV: (colour.saturation_hsv, (0.4, 0.2, 0.1, 0, -0.4)),
    PhotoDistortion.SATURATION_LAB: (colour.saturation_lab, (1, 2, 3, 6, 9)),
    PhotoDistortion.JPEG2000: (coding.jpeg2000, (16, 32, 45, 120, 400)),
    PhotoDistortion.JPEG: (coding.jpeg, (43, 36, 24, 7, 4)),
    PhotoDistortion.WHITE_NOISE: (noise.white, (0.001, 0.002, 0.003, 0.005, 0.01)),
    PhotoDistortion.WHITE_NOISE_YCBCR: (noise.white_ycbcr, (0.0001, 0.0005, 0.001, 0.002, 0.003)),
    PhotoDistortion.IMPULSE_NOISE: (noise.impulse, (0.001, 0.005, 0.01, 0.02, 0.03)),
    PhotoDistortion.MULTIPLICATIVE_NOISE: (noise.multiplicative, (0.001, 0.005, 0.01, 0.02, 0.05)),
    PhotoDistortion.DENOISE: (noise.denoised, (0.01, 0.03, 0.05, 0.1, 0.15)),
    PhotoDistortion.BRIGHTEN: (tone.brighten, (0.1, 0.2, 0.4, 0.7, 1.1)),
    PhotoDistortion.DARKEN: (tone.darken, (0.05, 0.1, 0.2, 0.4, 0.8)),
    PhotoDistortion.MEAN_SHIFT: (tone.mean_shift, (0.15, 0.08, 0, -0.08, -0.15)),
    PhotoDistortion.JITTER: (spatial.jitter, (0.05, 0.1, 0.2, 0.5, 1)),
    PhotoDistortion.NON_ECCENTRICITY_PATCH: (spatial.displaced_patches, (20, 40, 60, 80, 100)),
    PhotoDistortion.PIXELATE: (spatial.pixelate, (0.01, 0.05, 0.1, 0.2, 0.5)),
    PhotoDistortion.QUANTISATION: (tone.quantisation, (20, 16, 13, 10, 7)),
    PhotoDistortion.COLOUR_BLOCK: (spatial.colour_blocks, (2, 4, 6, 8, 10)),
    PhotoDistortion.HIGH_SHARPEN: (tone.sharpen, (1, 2, 3, 6, 12)),
    PhotoDistortion.CONTRAST: (tone.contrast, (0.3, 0.15, 0, -0.4, -0.6)),
}


def parameter(kind: PhotoDistortion, level: int) -> float:
    """The generator's parameter of `kind` at `level` 1–5 (what it means, its function says)."""
    if level not in LEVELS:
        raise ValueError(f"a level is a whole number from 1 to 5, not {level}")
    return _TABLE[kind][1][level - 1]


def distort_photo(photo: ByteArray, kind: PhotoDistortion, level: int, seed: int) -> ByteArray:
    """`photo`, uint8 RGB [y, x, 3], with one distortion at `level` 1 (mild) to 5; the same seed gives the same picture.

    Raises ValueError for another shape or type, for a photograph under 64 pixels a side, and for another level.
    """
    amount = parameter(kind, level)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or min(photo.shape[:2]) < 64:
        raise ValueError(
            f"a photograph is uint8 [y, x, 3] of 64 pixels or more a side, not {photo.dtype} {photo.shape}"
        )
    # Levels of one distortion share the seed's directions and places, so that they differ by their level alone.
    rng = np.random.default_rng((seed, int(kind)))
    distorted = _TABLE[kind][0](photo.astype(np.float32) / 255.0, amount, rng)
    return np.asarray(np.rint(np.clip(distorted, 0.0, 1.0) * 255.0), dtype=np.uint8)
