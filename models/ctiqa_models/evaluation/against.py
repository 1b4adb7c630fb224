"""Other no-reference metrics to stand beside ours, from a pyiqa that the site installed itself.

pyiqa (IQA-PyTorch) is not part of this project and not a dependency: it and parts of it are licensed for noncommercial
use only (PolyForm Noncommercial 1.0.0, S-Lab License 1.0), and most of its metrics fetch weights of their own. Where it
is missing, or a metric's weights cannot be fetched, the row of the table says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch

from ctiqa_models.api import FloatArray
from ctiqa_models.device import device_of
from ctiqa_models.evaluation.figures import Values

PREFIX = "pyiqa:"
_BATCH = 8
_LONGEST = 60
_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-+.")
_REFUSALS = (AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What pyiqa and what it loads weights with raise when a metric cannot be made or cannot score a picture."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A no-reference metric that can be used."""

    name: str
    score: Callable[[FloatArray], Values]
    """Scores grey images float32 [n, y, x] in 0–1: [n], more is better (metrics that count errors are negated).

    Raises Unavailable when the metric cannot score such images.
    """


class Unavailable(Exception):
    """A metric cannot be used; the message is the reason, short enough for a cell."""


def metric(name: str, device: str = "auto") -> Metric:
    """The metric of a name such as "pyiqa:niqe".

    Raises Unavailable with the reason: pyiqa is not installed, does not know the metric, cannot get its weights, or the
    metric needs a reference; ValueError for a name without a known prefix.
    """
    if not name.startswith(PREFIX) or not name[len(PREFIX) :] or not set(name[len(PREFIX) :]) <= _ALPHABET:
        raise ValueError(f"{name!r} names no metric; write {PREFIX}NAME, as in {PREFIX}niqe")
    model = _create(name[len(PREFIX) :], device_of(device))
    if model.metric_mode != "NR":
        raise Unavailable("needs a reference image, and there is none")
    return Metric(name, lambda images: _score(model, images))


def _create(name: str, device: torch.device) -> Any:
    try:
        pyiqa = import_module("pyiqa")
    except ImportError as error:
        missing = "pyiqa" if error.name == "pyiqa" else f"{error.name}, which pyiqa needs,"
        raise Unavailable(f"{missing} is not installed") from error
    try:
        known = set(pyiqa.list_models())
        if name in known:
            return pyiqa.create_metric(name, device=device)
    except OSError as error:
        raise Unavailable(f"its weights cannot be had: {_short(error)}") from error
    except _REFUSALS as error:
        raise Unavailable(f"it cannot be made: {_short(error)}") from error
    raise Unavailable(f"pyiqa {getattr(pyiqa, '__version__', '')} knows no such metric")


def _score(model: Any, images: FloatArray) -> Values:
    scores: list[float] = []
    for start in range(0, len(images), _BATCH):
        grey = torch.from_numpy(np.ascontiguousarray(images[start : start + _BATCH], dtype=np.float32))
        try:
            with torch.inference_mode():
                answer = model(grey[:, None].expand(-1, 3, -1, -1).clamp(0.0, 1.0))
        except _REFUSALS as error:
            raise Unavailable(f"it cannot score these images: {_short(error)}") from error
        scores += torch.as_tensor(answer).double().flatten().tolist()
    if len(scores) != len(images) or not all(map(math.isfinite, scores)):
        raise Unavailable("it does not give each of these images a number")
    values = np.asarray(scores)
    return -values if model.lower_better else values


def _short(error: BaseException) -> str:
    """The first line of an error's message (of URLError its reason), or its kind; at most 60 characters."""
    lines = str(getattr(error, "reason", error)).splitlines()
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
