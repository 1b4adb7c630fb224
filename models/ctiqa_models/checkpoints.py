"""Checkpoints that other people's code wrote: read without running anything in them, and fitted to a network."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ctiqa_models.checkpoint_claims import require_modest_file, require_modest_tensors
from ctiqa_models.weights import WeightsError

Tensors = dict[str, torch.Tensor]
Network = TypeVar("Network", bound=nn.Module)

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_SHOWN = 3
_NOT_READ = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, MemoryError,
    ArithmeticError, AssertionError, struct.error,
)  # fmt: skip
"""What torch raises for files that are not what they should be."""


def read_checkpoint(path: Path) -> Tensors:
    """The tensors of a PyTorch state dict (.pt, .pth) or a safetensors file, by name, on the CPU.

    A state dict may lie under `state_dict`, `model_state_dict` or `model`, beside whatever else a training keeps; the
    `module.` that DataParallel puts into names is dropped. Raises WeightsError for anything else.
    """
    require_modest_file(path)
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path} holds no state dict. Save one with torch.save(model.state_dict(), FILE).")
    odd = [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise WeightsError(f"{path} is not a state dict: {_some(odd)} is not a tensor.")
    require_modest_tensors(path, content.values())
    return {_plain(str(name)): tensor.detach() for name, tensor in content.items()}


def build_with(
    make: Callable[[], Network],
    tensors: Mapping[str, torch.Tensor],
    written_by: str,
    theirs: Callable[[str], str] = str,
) -> Network:
    """Make a network and give it these weights; see `load_into`.

    Nothing is initialised at random first, so that a large network costs its size once. The network must keep all that
    it has in its state dict, as torchvision's do.
    """
    with torch.device("meta"):
        network = make()
    return load_into(network, tensors, written_by, theirs)


def load_into(
    network: Network,
    tensors: Mapping[str, torch.Tensor],
    written_by: str,
    theirs: Callable[[str], str] = str,
) -> Network:
    """Give a network these weights, as float32 and without copying them, and switch it to evaluation.

    `theirs` turns a name of the network into that of the checkpoint. Raises WeightsError with the checkpoint's first
    names that are missing, unexpected, of another shape or not finite.
    """
    expected = network.state_dict()
    _compare({theirs(name): tensor for name, tensor in expected.items()}, tensors, written_by)
    network.load_state_dict({name: _as_used(tensors[theirs(name)]) for name in expected}, assign=True)
    network.requires_grad_(False)
    return network.eval()


def _pickled(path: Path) -> object:
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except _NOT_READ as error:
        raise WeightsError(
            f"{path} is not read: it is no PyTorch file, or it holds more than numbers, and reading that would run "
            "code from the file. Save the weights alone with torch.save(model.state_dict(), FILE)."
        ) from error
    return content


def _safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file, or it is damaged ({error}).") from error


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "module")


def _as_used(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


def _compare(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], written_by: str) -> None:
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    shared = [name for name in expected if name in found]
    shaped = [
        f"{name} {list(found[name].shape)}, not {list(expected[name].shape)}"
        for name in shared
        if found[name].shape != expected[name].shape
    ]
    typed = [name for name in shared if found[name].is_floating_point() != expected[name].is_floating_point()]
    endless = [name for name in shared if not bool(torch.isfinite(found[name]).all())]
    complaints = [
        f"{what}: {_some(names)}"
        for what, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shaped),
            ("of another type", typed),
            ("not finite", endless),
        )
        if names
    ]
    if complaints:
        raise WeightsError(f"These are not weights of {written_by}; {'; '.join(complaints)}.")


def _some(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    everyone = list(names)
    more = f" and {len(everyone) - _SHOWN} more" if len(everyone) > _SHOWN else ""
    return ", ".join(everyone[:_SHOWN]) + more
