"""With and without phase 1, everything else alike: the small pair of runs in TFKT's card.

    python benchmarks/tfkt_ablation.py RUN

RUN is the folder of a finished `ctiqa-node train tfkt`: its pictures and its phase 1 are used.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from ctiqa_models.evaluation.figures import bootstrap, correlation_sum, krcc, plcc, srcc
from ctiqa_models.tfkt.examples import simulated
from ctiqa_models.tfkt.fit import BEST, fit, predict, some
from ctiqa_models.tfkt.imagenet import begin_with_imagenet
from ctiqa_models.tfkt.network import Phase1Network, TfktNetwork
from ctiqa_models.tfkt.pictures import read_pictures
from ctiqa_models.tfkt.recipe import Phase, read_recipe
from ctiqa_models.tfkt.train import PICTURES
from ctiqa_models.training.run import seeded

_PHASE = Phase(epochs=1, pictures=600, batch=8, crop=320, learning_rate=0.0003, warm_up=0.1)
_PICTURES = 400


def main(run: Path) -> None:
    recipe = read_recipe()
    sides, _ = simulated(run / PICTURES, read_pictures(run / PICTURES))
    learnt = [example for example in sides.training if example.kind not in recipe.choosing]
    real = [example for example in sides.validation if not example.group.startswith("phantom")]
    held_out = some([example for example in real if example.kind not in recipe.choosing], _PICTURES)
    truth, patients = np.asarray([example.score for example in held_out]), [example.group for example in held_out]
    for name in ("without phase 1", "with phase 1"):
        seeded(recipe.seed)
        phase1 = Phase1Network(recipe.config)
        begin_with_imagenet(phase1.cnn)
        if name == "with phase 1":
            phase1.load_state_dict(torch.load(run / "phase1" / BEST, weights_only=True)["network"])
        seeded(recipe.seed)
        network = TfktNetwork(recipe.config)
        network.take_cnn(phase1)
        network.to(memory_format=torch.channels_last)
        fit(network, learnt, _PHASE, lambda _: 0.0, run / "ablation" / name.replace(" ", "_"), recipe.seed)
        predicted = predict(network, held_out)
        print(name, *(bootstrap(one, predicted, truth, patients) for one in (plcc, srcc, krcc, correlation_sum)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
