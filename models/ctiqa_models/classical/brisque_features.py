"""The 36 natural-scene features of BRISQUE (Mittal, Moorthy, Bovik: No-reference image quality assessment in the
spatial domain, IEEE Trans. Image Process. 21(12), 2012; first shown at Asilomar 2011).

The arithmetic follows the `brisque` package number for number (a test holds it to that), so that its regression model
applies. The package's own scoring does not run on NumPy 2.4 and later, and its features take ten times as long.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

_Float64Array = npt.NDArray[np.float64]

_KERNEL_SIZE = 7
_KERNEL_SIGMA = 7 / 6
_STABILISER = 1 / 255
# Saturated areas give 0 but for rounding, whose sign must not decide on which side a fit counts them.
_ROUNDING = 1e-9
# Neighbours along a row, a column and both diagonals: (row offset, column offset).
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
# Shapes outside this range do not occur; the paper searches 0.2–10.
_ALPHAS = np.geomspace(0.05, 20.0, 20_001)


def brisque_features(image: _Float64Array) -> _Float64Array:
    """Compute the features of one grey image [y, x] with values 0–1, both sides at least 16: float64 [36].

    18 at full and 18 at half resolution: shape and variance of the mean-subtracted contrast-normalised (MSCN)
    coefficients, then shape, mean, left and right variance of the products of neighbours in four directions.
    Not finite where the image is so flat that a fit has nothing on one side of zero.
    """
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
    return np.concatenate([_features_at_one_scale(image), _features_at_one_scale(half.astype(np.float64))])


def _features_at_one_scale(image: _Float64Array) -> _Float64Array:
    coefficients = _mscn(image)
    alpha, _, left, right = _fit_asymmetric_gaussian(coefficients)
    features = [alpha, (left + right) / 2]
    for offset in _NEIGHBOURS:
        features.extend(_fit_asymmetric_gaussian(_product_with_neighbour(coefficients, offset)))
    return np.asarray(features, dtype=np.float64)


def _mscn(image: _Float64Array) -> _Float64Array:
    """Paper, equations 1–3; beyond the border the image counts as 0, as in the package."""
    mean = _blur(image)
    deviation = np.sqrt(np.abs(_blur(image * image) - mean * mean))
    coefficients = np.asarray((image - mean) / (deviation + _STABILISER), dtype=np.float64)
    coefficients[np.abs(coefficients) < _ROUNDING] = 0.0
    return coefficients


def _blur(image: _Float64Array) -> _Float64Array:
    offsets = np.arange(_KERNEL_SIZE) - _KERNEL_SIZE // 2
    kernel = np.exp(-(offsets**2) / (2 * _KERNEL_SIGMA**2))
    kernel /= kernel.sum()
    blurred = cv2.sepFilter2D(image, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred, dtype=np.float64)


def _product_with_neighbour(coefficients: _Float64Array, offset: tuple[int, int]) -> _Float64Array:
    rows, columns = offset
    height, width = coefficients.shape
    if columns < 0:
        return coefficients[: height - rows, -columns:] * coefficients[rows:, :columns]
    return coefficients[: height - rows, : width - columns] * coefficients[rows:, columns:]


def _fit_asymmetric_gaussian(values: _Float64Array) -> tuple[float, float, float, float]:
    """Fit an asymmetric generalised Gaussian by moments: shape, mean, left variance, right variance (paper, §III-A)."""
    squares = values * values
    negative = values < 0
    negatives = int(np.count_nonzero(negative))
    total = float(squares.sum())
    left_sum = float(squares[negative].sum())
    if left_sum == 0.0 or total - left_sum <= 0.0:
        return (np.nan, np.nan, np.nan, np.nan)
    left = left_sum / negatives
    right = (total - left_sum) / (values.size - negatives)
    gamma = np.sqrt(left / right)
    ratio = float(np.abs(values).mean()) ** 2 / (total / values.size)
    ratio *= (gamma**3 + 1) * (gamma + 1) / (gamma**2 + 1) ** 2
    alpha = float(np.interp(ratio, _RATIOS, _ALPHAS))
    scale = np.exp((gammaln(1 / alpha) - gammaln(3 / alpha)) / 2 + gammaln(2 / alpha) - gammaln(1 / alpha))
    return alpha, float((np.sqrt(right) - np.sqrt(left)) * scale), left, right


def _generalised_gaussian_ratio(alpha: _Float64Array) -> _Float64Array:
    """E[|x|]² / E[x²] of a generalised Gaussian of shape alpha; it grows with alpha."""
    return np.asarray(np.exp(2 * gammaln(2 / alpha) - gammaln(1 / alpha) - gammaln(3 / alpha)), dtype=np.float64)


_RATIOS = _generalised_gaussian_ratio(_ALPHAS)
