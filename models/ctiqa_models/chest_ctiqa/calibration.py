"""Refit the score to a site's readers: least squares, cross-validated, with the readers' own agreement beside it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from itertools import combinations

import numpy as np
import numpy.typing as npt

from ctiqa_models.chest_ctiqa.fit import HIGHEST, LOWEST, Features, Fit
from ctiqa_models.evaluation.figures import plcc, rmse, srcc

LEAST_SERIES = 20
"""Four for each of the five coefficients; with fewer a fit says more about chance than about readers."""

LEAST_SHARED = 5
"""Series that two readers must both have scored for their agreement to count."""

_NAMES = ("snr", "brisque", "window", "exposure")
_STILL = 1e-9

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReaderScore:
    """What one reader gave one series, 1–10."""

    series: str
    reader: str
    score: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """SRCC, PLCC and RMSE of two lists of scores; a correlation is None where one of them is constant."""

    srcc: float | None
    plcc: float | None
    rmse: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A site's fit, and how far to trust it."""

    fit: Fit
    series: int
    readers: int
    cross_validated: Agreement
    """Scores predicted for series that the coefficients were not fitted to, against the mean reader."""
    published: Agreement
    """The same series under the paper's coefficients."""
    between_readers: Agreement | None
    """Mean over pairs of readers; None with one reader, or when no two share enough series."""
    folds: int
    constant: tuple[str, ...]
    """Features that were the same in all series; their coefficient is 0."""
    without_features: tuple[str, ...]
    """Series with scores that the node has not assessed; left out."""


def calibrate(
    rows: Sequence[ReaderScore],
    features: Mapping[str, Features],
    folds: int = 5,
    seed: int = 0,
    now: datetime | None = None,
) -> Calibration:
    """Fit the coefficients to the mean reader's score of each series, by least squares.

    A reader who scored a series more than once counts with the mean. Columns are standardised inside and solved for the
    least norm, so that constant or duplicate features do no harm. `folds` parts of the series, dealt by `seed`,
    cross-validate. Raises ValueError for a score outside 1–10, for features that are no numbers, and for fewer than
    `LEAST_SERIES` series that have both scores and features.
    """
    table = _by_series(rows)
    names = sorted(name for name in table if name in features)
    if len(names) < LEAST_SERIES:
        raise ValueError(
            f"{len(names)} series have both readers' scores and an assessment; at least {LEAST_SERIES} are needed to "
            "fit five coefficients"
        )
    known = np.asarray([astuple(features[name]) for name in names], dtype=np.float64)
    if not np.isfinite(known).all():
        raise ValueError("a feature is not a finite number")
    scores = np.asarray([np.mean(list(table[name].values())) for name in names])
    weights = _least_squares(known, scores)
    moment = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    return Calibration(
        fit=_fit(weights, moment, _digest(names, table, features)),
        series=len(names),
        readers=len({reader for name in names for reader in table[name]}),
        cross_validated=_agreement(_cross_validated(known, scores, folds, seed), scores),
        published=_agreement(np.asarray([Fit().score(features[name]) for name in names]), scores),
        between_readers=_between_readers([table[name] for name in names]),
        folds=folds,
        constant=tuple(name for name, still in zip(_NAMES, _is_still(known), strict=True) if still),
        without_features=tuple(sorted(set(table) - set(names))),
    )


def _by_series(rows: Iterable[ReaderScore]) -> dict[str, dict[str, float]]:
    """Each series' score by reader."""
    given: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if not LOWEST <= row.score <= HIGHEST:
            raise ValueError(f"scores run from 1 to 10; {row.reader} gave {row.series} {row.score}")
        given[row.series][row.reader].append(row.score)
    return {
        series: {reader: float(np.mean(scores)) for reader, scores in sorted(readers.items())}
        for series, readers in given.items()
    }


def _is_still(known: _Array) -> npt.NDArray[np.bool_]:
    still: npt.NDArray[np.bool_] = known.std(axis=0) <= _STILL * np.maximum(1.0, np.abs(known).max(axis=0))
    return still


def _least_squares(known: _Array, scores: _Array) -> _Array:
    """The four coefficients and the intercept, [5]."""
    middle = known.mean(axis=0)
    still = _is_still(known)
    width = np.where(still, 1.0, known.std(axis=0))
    standard = np.where(still, 0.0, (known - middle) / width)
    slopes = np.linalg.lstsq(standard, scores - scores.mean(), rcond=None)[0] / width
    return np.append(slopes, scores.mean() - middle @ slopes)


def _fit(weights: _Array, moment: str, digest: str) -> Fit:
    snr, brisque, window, exposure, intercept = map(float, weights)
    return Fit(snr, brisque, window, exposure, intercept, fitted_at=moment, data_sha256=digest)


def _cross_validated(known: _Array, scores: _Array, folds: int, seed: int) -> _Array:
    """The score of each series under coefficients fitted to the other folds, clipped to 1–10."""
    if not 2 <= folds <= len(scores):
        raise ValueError(f"folds must lie between 2 and the {len(scores)} series: {folds}")
    fold = np.random.default_rng(seed).permutation(len(scores)) % folds
    predicted = np.empty_like(scores)
    for index in range(folds):
        out = fold == index
        weights = _least_squares(known[~out], scores[~out])
        predicted[out] = known[out] @ weights[:4] + weights[4]
    return np.clip(predicted, LOWEST, HIGHEST)


def _agreement(predicted: _Array, truth: _Array) -> Agreement:
    return Agreement(_or_none(srcc(predicted, truth)), _or_none(plcc(predicted, truth)), rmse(predicted, truth))


def _between_readers(table: Sequence[Mapping[str, float]]) -> Agreement | None:
    everyone = sorted({reader for row in table for reader in row})
    pairs: list[Agreement] = []
    for one, other in combinations(everyone, 2):
        both = np.asarray([(row[one], row[other]) for row in table if one in row and other in row])
        if len(both) >= LEAST_SHARED:
            pairs.append(_agreement(both[:, 0], both[:, 1]))
    if not pairs:
        return None
    ranks = [pair.srcc for pair in pairs if pair.srcc is not None]
    linear = [pair.plcc for pair in pairs if pair.plcc is not None]
    return Agreement(
        float(np.mean(ranks)) if ranks else None,
        float(np.mean(linear)) if linear else None,
        float(np.mean([pair.rmse for pair in pairs])),
    )


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _digest(names: Sequence[str], table: Mapping[str, Mapping[str, float]], features: Mapping[str, Features]) -> str:
    lines = [repr((name, sorted(table[name].items()), astuple(features[name]))) for name in names]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
