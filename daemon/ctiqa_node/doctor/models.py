"""The models: weights by their SHA-256, the device, and the golden series."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ctiqa_node.analysis import Analyst, weights_in_use
from ctiqa_node.config import Config
from ctiqa_node.doctor.finding import Finding, failed, fine, note
from ctiqa_node.golden import check
from ctiqa_node.state import StateFolder


def weights(config: Config) -> Iterator[Finding]:
    """Each weights file that would be used, against the SHA-256 that it must have."""
    for each in weights_in_use(config.worker.assessors, StateFolder(config.node.state_dir).models):
        if each.trouble is not None:
            yield failed("weights", each.trouble, "install ctiqa-node again, or import the weights again")
        elif each.sha256 is None:
            yield fine("weights", f"{each.model} needs none")
        else:
            yield fine("weights", f"{each.model}: {each.sha256[:12]}, {each.origin}")


def device_and_golden(config: Config) -> Iterator[Finding]:
    """The device that the models run on, and what they say on it of the golden series."""
    settings = config.worker
    models = StateFolder(config.node.state_dir).models
    began = time.monotonic()
    analyst = Analyst(settings.device, settings.assessors, settings.threads, models)
    if settings.device == "cuda" and analyst.device != "cuda":
        yield failed(
            "device",
            "worker.device is cuda, but no GPU can be used",
            "see the driver (`nvidia-smi`), or worker.device: cpu",
        )
    else:
        yield fine("device", analyst.device_name)
    result = check(analyst)
    seconds = time.monotonic() - began
    if not result.ok:
        yield failed(
            "golden",
            result.sentence,
            "send no results; see what changed last: driver, libraries, weights; try worker.device: cpu",
        )
    elif result.compared:
        yield fine("golden", f"{result.sentence}, {seconds:.0f} s")
    else:
        yield note("golden", result.sentence)
