"""Networks made fast: on the CPU compiled by OpenVINO in float32, which changes no number beyond the sixth digit.

Measured on the CPU and not taken: torch's own eager mode (a third of the speed and less), ONNX Runtime (two thirds to
equal), bfloat16 (twice the speed, but scores and distances move). See docs/performance.md.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from openvino import CompiledModel

Answer = tuple[torch.Tensor, ...]
Network = Callable[[torch.Tensor], Answer]
"""Images [z, c, y, x] on the network's device in, one or more tensors [z, …] out."""


def compile_network(network: nn.Module, shape: tuple[int, int, int], device: torch.device) -> Network:
    """A network in evaluation mode for images [z, *shape], ready for inference on `device`.

    Its `forward` answers with a tuple of tensors. On the CPU it is compiled for as many threads as torch has; images
    must then have just this shape, and the module is not needed any more. Elsewhere it runs as it is.
    """
    network.eval()
    if device.type != "cpu":
        return _Eager(network.to(memory_format=torch.channels_last).to(device))
    with warnings.catch_warnings(), torch.inference_mode():
        # torch calls tracing deprecated; OpenVINO's reader of what replaces it cannot read this version's yet.
        warnings.simplefilter("ignore")
        traced: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]  # torch has no types here
            network, torch.zeros(2, *shape), check_trace=False
        )
    return _Compiled(_compile(traced, shape))


def _compile(traced: torch.jit.ScriptModule, shape: tuple[int, int, int]) -> CompiledModel:
    _call_nobody()
    from openvino import Core, PartialShape
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)
    read = frontend.load(decoder)  # both names are held until the end: what reads the graph does not own them
    model = frontend.convert(read)
    model.reshape({model.input(0): PartialShape([-1, *shape])})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    return Core().compile_model(model, "CPU", settings)


def _call_nobody() -> None:
    """OpenVINO tells Google Analytics when it is imported, unless what does so is missing. Here it is."""
    missing: None = None
    sys.modules.setdefault("openvino_telemetry", missing)  # type: ignore[arg-type]  # None makes an import fail


@dataclass(frozen=True, slots=True)
class _Compiled:
    model: CompiledModel

    def __call__(self, images: torch.Tensor) -> Answer:
        answer = self.model(images.contiguous().numpy(), share_inputs=True)
        return tuple(torch.from_numpy(answer[port]) for port in self.model.outputs)


@dataclass(frozen=True, slots=True)
class _Eager:
    network: nn.Module

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> Answer:
        answer: Answer = self.network(images.contiguous(memory_format=torch.channels_last))
        return answer
