"""How well classes are told: accuracy, precision, recall, F1.

`predicted` and `truth` are the numbers of the classes, 0, 1, 2 … in their order, so that `figures.bootstrap` takes each
of these functions (with `functools.partial` for the class in question).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ctiqa_models.evaluation.figures import Values


def accuracy(predicted: Values, truth: Values) -> float:
    """The share that is right."""
    return float(np.mean(predicted == truth))


def precision(predicted: Values, truth: Values, positive: int = 1) -> float:
    """Of those called `positive`, the share that is; NaN when none is called so."""
    return _share(truth[predicted == positive] == positive)


def recall(predicted: Values, truth: Values, positive: int = 1) -> float:
    """Of those that are `positive`, the share that is called so; NaN when none is."""
    return _share(predicted[truth == positive] == positive)


def f1(predicted: Values, truth: Values, positive: int = 1) -> float:
    """Harmonic mean of precision and recall: 0 when nothing is found, NaN when there is nothing to find or call."""
    found = float(np.sum((predicted == positive) & (truth == positive)))
    wrong = float(np.sum((predicted == positive) != (truth == positive)))
    return 2 * found / (2 * found + wrong) if found + wrong else float("nan")


def _share(right: npt.NDArray[np.bool_]) -> float:
    return float(right.mean()) if right.size else float("nan")
