"""What could run the networks on a CPU: which is fastest, and how far its numbers are from torch's eager float32.

ONNX Runtime is measured where onnxruntime and onnx are installed, torch.compile where there is a C++ compiler; the node
needs neither.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from bench.figures import Line, Measured, compared, not_measured
from bench.running import Options, run
from bench.timing import alternate
from torch import nn

from ctiqa_models import catalog
from ctiqa_models.compiled import compile_network
from ctiqa_models.simulation.series import Scan, simulate_series
from ctiqa_models.tfkt.preprocess import SIZE, network_input
from ctiqa_models.tfkt.release import read_release

BATCH = 4
Engine = Callable[[torch.Tensor], torch.Tensor]
"""Images [z, 1, 512, 512] in, scores [z] out."""


class _Tuple(nn.Module):
    """The network as `compile_network` wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.network(images),)


def _eager(network: nn.Module) -> Engine:
    return lambda images: network(images)


def _one_by_one(network: nn.Module) -> Engine:
    return lambda images: torch.cat([network(image[None]) for image in images])


def _channels_last(network: nn.Module) -> Engine:
    return lambda images: network(images.contiguous(memory_format=torch.channels_last))


def _bfloat16(network: nn.Module) -> Engine:
    def judge(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores: torch.Tensor = network(images.contiguous(memory_format=torch.channels_last))
        return scores.float()

    return judge


def _openvino(network: nn.Module) -> Engine:
    compiled = compile_network(_Tuple(network), (1, SIZE, SIZE), torch.device("cpu"))
    return lambda images: compiled(images)[0]


def _onnx_runtime(network: nn.Module, scratch: Path) -> Engine:
    import onnxruntime  # type: ignore[import-not-found, unused-ignore]  # not a part of the node

    file = scratch / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(BATCH, 1, SIZE, SIZE),), file, dynamo=False, opset_version=17,
            input_names=["images"], dynamic_axes={"images": {0: "z"}},
        )  # fmt: skip
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def measure(options: Options) -> tuple[Sequence[Line], Sequence[str]]:
    """TFKT's compact network alone, over four slices of a simulated trunk."""
    network = read_release(catalog.TFKT_WEIGHTS).network.eval()
    hu = simulate_series(seed=11, slices=BATCH, size=SIZE, scan=Scan(0.5)).hu
    images = network_input(torch.from_numpy(hu))
    apart = read_release(catalog.TFKT_WEIGHTS).network.eval().to(memory_format=torch.channels_last)
    engines: dict[str, Engine] = {
        "torch, eager, one slice at a time": _one_by_one(network),
        "torch, eager": _eager(network),
        "torch, eager, channels last": _channels_last(apart),
        "torch, bfloat16, channels last": _bfloat16(apart),
        "OpenVINO, float32 (taken)": _openvino(network),
    }
    missing = []
    if find_spec("onnxruntime") and find_spec("onnx"):
        engines["ONNX Runtime"] = _onnx_runtime(network, options.scratch)
    else:
        missing.append(not_measured("ONNX Runtime", "onnxruntime and onnx are not installed"))
    if shutil.which("g++"):
        engines["torch.compile"] = torch.compile(network)
    else:
        missing.append(not_measured("torch.compile", "there is no C++ compiler, as on most servers"))
    with torch.inference_mode():
        took = alternate({name: partial(engine, images) for name, engine in engines.items()}, options.rounds)
        scores = {name: engine(images).numpy() for name, engine in engines.items()}
    return [*_lines(took, scores), *missing], (f"{torch.get_num_threads()} threads, {BATCH} slices at once.",)


def _lines(took: dict[str, Measured], scores: dict[str, np.ndarray]) -> list[Line]:
    lines: list[Line] = []
    book = None
    for name, seconds in took.items():
        away = float(np.abs(scores[name] - scores["torch, eager"]).max())
        note = f"a score differs by at most {away:.1g}"
        line = compared(name, seconds.per_second(BATCH, "slices/s"), book, note=note)
        book = book or line
        lines.append(line)
    return lines


if __name__ == "__main__":
    run("engines", "What runs a network on the CPU", measure, ("torch", "openvino"))
