"""The rows of the papers' own tables of variants: each trained alike, for a short while, and measured side by side.

    python benchmarks/paper_rows.py tfkt|n2q|chest-ctiqa RUN OUT DATA…

RUN is the folder of a finished `ctiqa-node train` by the shipped recipe: what it simulated, and TFKT's phase 1, are
used again. DATA are the
folders that it was given, and pairs. OUT keeps the runs; what was stopped goes on, what is finished is not repeated.
`--only WORD` takes the rows with that word in their name, so that several cores can share the work; measure at the end.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import yaml

from ctiqa_models.data.detect import kind_of
from ctiqa_models.data.gather import gather
from ctiqa_models.data.sources import Sources
from ctiqa_models.evaluation.render import as_json, as_markdown
from ctiqa_models.training.request import EvaluateRequest, TrainRequest

Changes = Mapping[str, Any]

_SHORT_TFKT: Changes = {
    "phase2": [
        {"epochs": 1, "pictures": 1600, "batch": 8, "crop": 320, "learning_rate": 0.0003, "warm_up": 0.1},
        {"epochs": 1, "pictures": 320, "batch": 8, "crop": 512, "learning_rate": 0.0001, "warm_up": 0.1},
    ]
}
_SHORT_N2Q: Changes = {
    "phases": [
        {"epochs": 4, "steps": 40, "batch": 16, "crop": 128, "dropout": 0.1, "learning_rate": 0.0015},
        {"epochs": 2, "steps": 30, "batch": 8, "crop": 256, "dropout": 0.0, "learning_rate": 0.0005},
    ]
}
# RED-CNN takes fourteen times as long a picture as the U-Net: a quarter of the pictures, and no whole ones.
_SHORT_RED_CNN: Changes = {
    "phases": [{"epochs": 4, "steps": 12, "batch": 16, "crop": 128, "dropout": 0.0, "learning_rate": 0.0005}]
}
_BRANCHES_AND_TASKS: Mapping[str, Changes] = {
    "separate": {},
    "shared": {"branch": "shared"},
    "per-kind": {"branch": "per_kind"},
    "paper-weights": {"loss_weights": [50.0, 50.0, 5.0, 1.0]},
    "classes-alone": {"tasks": ["window", "exposure"]},
    "numbers-alone": {"tasks": ["snr", "brisque"]},
    "window-alone": {"tasks": ["window"]},
    "exposure-alone": {"tasks": ["exposure"]},
    "snr-alone": {"tasks": ["snr"]},
    "brisque-alone": {"tasks": ["brisque"]},
}

ROWS: Mapping[str, Mapping[str, Changes]] = {
    "tfkt": {
        "v1": _SHORT_TFKT,
        "v1-no-pretraining": {**_SHORT_TFKT, "pretrain": False},
        "v1-frozen-f": {**_SHORT_TFKT, "freeze_cnn": True},
        "v2": {**_SHORT_TFKT, "variant": "v2"},
    },
    "n2q": {
        **{name: {**_SHORT_N2Q, "variant": name} for name in ("ae", "u-net", "u-hpf", "u-con", "u-ssl", "n2q")},
        "red-cnn": {**_SHORT_RED_CNN, "variant": "red-cnn"},
    },
    "chest-ctiqa": {
        name: {"epochs": 20, "dropout_free_epochs": 6, **changes} for name, changes in _BRANCHES_AND_TASKS.items()
    },
}
SHARED = {"tfkt": ("pictures", "photographs", "phase1"), "n2q": ("examples",), "chest-ctiqa": ("examples",)}
PACKAGES = {"tfkt": "tfkt", "n2q": "n2q", "chest-ctiqa": "chest_ctiqa"}


def main() -> None:
    asked = _arguments()
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    sources = gather([(kind_of(folder), folder) for folder in asked.data], asked.out)
    weights = asked.out / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    for name, changes in ROWS[asked.model].items():
        if (asked.only is None or asked.only in name) and not (weights / f"{name}.safetensors").exists():
            _train(asked.model, name, changes, asked.run.resolve(), asked.out, sources)
    if asked.only is None:
        evaluate = import_module(f"ctiqa_models.{PACKAGES[asked.model]}.evaluate")
        tables = evaluate.run(EvaluateRequest(sources, weights, cache=asked.run, device="cpu"))
        (asked.out / "tables.json").write_text(as_json(tables))
        (asked.out / "tables.md").write_text(as_markdown(tables))
        print(as_markdown(tables))


def _train(model: str, name: str, changes: Changes, run: Path, out: Path, sources: Sources) -> None:
    folder = out / name
    folder.mkdir(exist_ok=True)
    for shared in SHARED[model]:
        link = folder / shared
        # Without phase 1 there is nothing to share, and it must not be overwritten.
        if not link.is_symlink() and not (shared == "phase1" and changes.get("pretrain") is False):
            link.symlink_to(run / shared)
    package = f"ctiqa_models.{PACKAGES[model]}"
    default: Path = import_module(f"{package}.recipe").DEFAULT_RECIPE
    recipe = folder / "asked.yaml"
    recipe.write_text(yaml.safe_dump({**yaml.safe_load(default.read_text()), **changes}))
    file = import_module(f"{package}.train").run(TrainRequest(sources, folder, recipe, "cpu"))
    (out / "weights" / f"{name}.safetensors").write_bytes(file.path.read_bytes())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(ROWS))
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--only")
    return parser.parse_args()


if __name__ == "__main__":
    main()
