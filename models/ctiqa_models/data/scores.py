"""Reading the scores of people: a number in its range, or a sentence that says where it is not."""

from __future__ import annotations

import math


def checked_score(value: object, lowest: float, highest: float, where: str) -> float:
    """The score as a number; ValueError, beginning with `where`, when it is none or outside lowest … highest."""
    try:
        score = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise ValueError(f"{where}: the score {value!r} is not a number.")
    if not lowest <= score <= highest:
        raise ValueError(f"{where}: the score {score:g} is outside {lowest:g}–{highest:g}.")
    return score
