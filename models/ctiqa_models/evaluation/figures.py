"""Figures of agreement, and how sure one may be of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, and the ends of its 95 % bootstrap interval where one was taken."""

    value: float
    low: float | None = None
    high: float | None = None


def plcc(predicted: Values, truth: Values) -> float:
    """Pearson's linear correlation; NaN when either is constant."""
    return _or_nan(predicted, truth, lambda a, b: stats.pearsonr(a, b).statistic)


def srcc(predicted: Values, truth: Values) -> float:
    """Spearman's rank correlation; NaN when either is constant."""
    return _or_nan(predicted, truth, lambda a, b: stats.spearmanr(a, b).statistic)


def krcc(predicted: Values, truth: Values) -> float:
    """Kendall's rank correlation, tau-b; NaN when either is constant."""
    return _or_nan(predicted, truth, lambda a, b: stats.kendalltau(a, b).statistic)


def correlation_sum(predicted: Values, truth: Values) -> float:
    """PLCC + SRCC + KRCC, the ranking of LDCTIQAC 2023."""
    return plcc(predicted, truth) + srcc(predicted, truth) + krcc(predicted, truth)


def rmse(predicted: Values, truth: Values) -> float:
    """Root of the mean squared difference."""
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def bootstrap(
    statistic: Callable[[Values, Values], float],
    predicted: Values,
    truth: Values,
    patients: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> Figure:
    """`statistic` with its 95 % interval over resamples of patients, not of slices: slices of one body are not news.

    With `resamples` 0, or one patient alone, there is no interval. Resamples in which the statistic is no number are
    left out.
    """
    value = statistic(predicted, truth)
    names = np.asarray(patients)
    groups = [np.flatnonzero(names == one) for one in sorted(set(patients))]
    if resamples == 0 or len(groups) < 2:
        return Figure(value)
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        rows = np.concatenate([groups[index] for index in generator.integers(len(groups), size=len(groups))])
        drawn.append(statistic(predicted[rows], truth[rows]))
    finite = np.asarray(drawn)[np.isfinite(drawn)]
    if not finite.size:
        return Figure(value)
    low, high = np.percentile(finite, [2.5, 97.5])
    return Figure(value, float(low), float(high))


def _or_nan(predicted: Values, truth: Values, statistic: Callable[[Values, Values], float]) -> float:
    if len(truth) < 2 or np.ptp(predicted) == 0 or np.ptp(truth) == 0:
        return float("nan")
    return float(statistic(predicted, truth))
