"""How well classes are told: accuracy, precision, recall, F1, confusion.

`predicted` and `truth` are the numbers of the classes, 0, 1, 2 … in their order, so that `figures.bootstrap` takes each
of these functions (with `functools.partial` for the class in question).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ctiqa_models.evaluation.figures import Figure, Values
from ctiqa_models.evaluation.table import Row, Table


def accuracy(predicted: Values, truth: Values) -> float:
    """The share that is right."""
    return float(np.mean(predicted == truth))


def within_one(predicted: Values, truth: Values) -> float:
    """The share that is right or a neighbouring class; for classes in an order."""
    return float(np.mean(np.abs(predicted - truth) <= 1))


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


def confusion(predicted: Values, truth: Values, classes: int) -> npt.NDArray[np.int64]:
    """How often each class (row) was called each class (column): [classes, classes]."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth.astype(int), predicted.astype(int)), 1)
    return counts


def confusion_table(predicted: Values, truth: Values, labels: Sequence[str], title: str) -> Table:
    """The confusion as a table: a row for each true class, a column for each class that was called."""
    counts = confusion(predicted, truth, len(labels))
    rows = (Row(f"is {label}", tuple(str(count) for count in row)) for label, row in zip(labels, counts, strict=True))
    return Table(title, tuple(f"called {label}" for label in labels), tuple(rows))


def class_figures(predicted: Values, truth: Values, positive: int = 1) -> tuple[Figure, Figure, Figure, Figure]:
    """Accuracy, precision, recall, F1, without intervals, in the order of Chest CT-IQA's tables."""
    return (
        Figure(accuracy(predicted, truth)),
        Figure(precision(predicted, truth, positive)),
        Figure(recall(predicted, truth, positive)),
        Figure(f1(predicted, truth, positive)),
    )


def _share(right: npt.NDArray[np.bool_]) -> float:
    return float(right.mean()) if right.size else float("nan")
