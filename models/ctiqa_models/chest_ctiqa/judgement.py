"""What a trained network says of a series and of its flipped copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ctiqa_models.chest_ctiqa.fit import Features
from ctiqa_models.chest_ctiqa.labels import Window
from ctiqa_models.chest_ctiqa.network import ChestNetwork, Task
from ctiqa_models.chest_ctiqa.scanner import Exposure

FLIPS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (1, 3))
"""As it came, upside down, to the other side, and to the other side from the other end: axes of [c, z, y, x]."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the network says of each flipped copy of a series: probabilities [copies, 2], numbers [copies].

    A task that the network was not trained for is NaN throughout.
    """

    window: npt.NDArray[np.float64]
    exposure: npt.NDArray[np.float64]
    snr: npt.NDArray[np.float64]
    brisque: npt.NDArray[np.float64]

    def features(self, copy: int | None = None) -> Features:
        """X of the fit, of one copy or the mean of all."""
        chosen = slice(None) if copy is None else slice(copy, copy + 1)
        return Features(
            snr=float(self.snr[chosen].mean()),
            brisque=float(self.brisque[chosen].mean()),
            window=float(self.window[chosen, Window.SOFT_TISSUE].mean()),
            exposure=float(self.exposure[chosen, Exposure.MAS_50].mean()),
        )


@torch.inference_mode()
def judge(network: ChestNetwork, image: torch.Tensor) -> tuple[Judgement, torch.Tensor]:
    """Judge one series, the input [c, z, y, x]; answers with what its first copy looks like too, [d] (`look`).

    The network is in evaluation mode; the input may lie on another device.
    """
    device = next(network.parameters()).device
    found, seen = network.look(torch.stack([image.flip(axes) for axes in FLIPS]).to(device))
    told = {task: out.double().cpu() for task, out in network.judge(found).items()}
    none = np.full(len(FLIPS), np.nan)
    both = np.full((len(FLIPS), 2), np.nan)
    judgement = Judgement(
        window=told[Task.WINDOW].softmax(dim=1).numpy() if Task.WINDOW in told else both,
        exposure=told[Task.EXPOSURE].softmax(dim=1).numpy() if Task.EXPOSURE in told else both,
        snr=told[Task.SNR].numpy() if Task.SNR in told else none,
        brisque=told[Task.BRISQUE].numpy() if Task.BRISQUE in told else none,
    )
    return judgement, seen[0].cpu()
