"""The paper's figures on its own 160 test series, as rows to stand beside ours (its Tables 1 to 3)."""

from __future__ import annotations

from ctiqa_models.evaluation.figures import Figure
from ctiqa_models.evaluation.table import Row

CLASS_COLUMNS = tuple(
    f"{task} {figure}" for task in ("window", "exposure") for figure in ("accuracy", "precision", "recall", "F1")
)
NUMBER_COLUMNS = tuple(f"{task} {figure}" for task in ("SNR", "BRISQUE") for figure in ("SRCC", "PLCC", "RMSE"))


def _row(name: str, *values: float | None) -> Row:
    return Row(name, tuple(None if value is None else Figure(value) for value in values), "paper")


CLASS_ROWS: tuple[Row, ...] = (
    _row("Chest CT-IQA", 0.8375, 0.9600, 0.7578, 0.8470, 0.8813, 0.7805, 0.9846, 0.8707),
    _row("two layers shared by all tasks", 0.7125, 0.4400, 0.8919, 0.5892, 0.6562, 0.3902, 0.8648, 0.5378),
    _row("two layers shared by kind", 0.6437, 0.2533, 0.9500, 0.3999, 0.5125, 0.4268, 0.5303, 0.4729),
    _row("separate, other λ", 0.7750, 0.6000, 0.8823, 0.7142, 0.6375, 0.3292, 0.9000, 0.4821),
    _row("window and exposure alone", 0.8188, 0.9733, 0.7300, 0.8342, 0.8563, 0.7683, 0.9403, 0.8456),
    _row("each task alone", 0.6375, 0.4533, 0.6666, 0.5397, 0.8500, 0.7195, 0.9833, 0.8309),
)

NUMBER_ROWS: tuple[Row, ...] = (
    _row("Chest CT-IQA", 0.5998, 0.5591, 3.4063, 0.3015, 0.1943, 19.3409),
    _row("two layers shared by all tasks", 0.6126, 0.6560, 3.2307, 0.0758, 0.0406, 22.3644),
    _row("two layers shared by kind", 0.3775, 0.4416, 5.2416, 0.3536, 0.2626, 14.3117),
    _row("separate, other λ", 0.6022, 0.6663, 3.1422, 0.1211, 0.0386, 17.8507),
    _row("SNR and BRISQUE alone", 0.6275, 0.6642, 3.0062, 0.0498, 0.0250, 23.9157),
    _row("each task alone", 0.3685, 0.3606, 3.8386, 0.0584, 0.0300, 22.1978),
)
