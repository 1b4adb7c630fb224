"""Noise with the texture of a convolution kernel but no scan behind it: a picture takes milliseconds."""

from __future__ import annotations

import numpy as np

from ctiqa_models.api import FloatArray


def kernel_noise(rng: np.random.Generator, size: int, deviation_hu: float) -> FloatArray:
    """Noise [size, size] of this standard deviation, the same everywhere, of a cut-off drawn by `rng`.

    Its power spectrum is a ramp under the square of a Hann window, as that of filtered back-projection (Riederer et al.
    1978, doi:10.1088/0031-9155/23/3/008), and so peaks off zero.
    """
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]) * 2
    cutoff = rng.uniform(0.5, 1.3)
    window = np.where(frequency < cutoff, 0.5 + 0.5 * np.cos(np.pi * frequency / cutoff), 0.0)
    white = np.fft.rfft2(rng.standard_normal((size, size)))
    noise = np.fft.irfft2(white * np.sqrt(frequency) * window, s=(size, size))
    return np.asarray(deviation_hu * noise / noise.std(), dtype=np.float32)
