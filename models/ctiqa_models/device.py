"""On what a model runs."""

from __future__ import annotations

import torch


def device_of(name: str) -> torch.device:
    """The device of this name; "auto" is a GPU where there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
