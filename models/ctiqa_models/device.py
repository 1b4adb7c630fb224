"""On what a model runs."""

from __future__ import annotations

import torch


def device_of(name: str) -> torch.device:
    """The device of this name; "auto" is a GPU where there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def slices_at_once(device: torch.device, wanted: int | None) -> int:
    """How many slices a network gets together at first, if not told: few keep a CPU busy, a GPU wants many."""
    return wanted or (4 if device.type == "cpu" else 64)
