"""Weights files: float16 safetensors with their metadata inside, trusted only after their SHA-256 has been checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes seconds to import, and a node that only lists its models need not
    import torch


class WeightsError(Exception):
    """A weights file is missing, damaged or not the one that was released; the message says what to do."""


class NotInstalledError(WeightsError):
    """A model that ships without weights was asked for and nobody has installed any; the message names no path."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A safetensors file and the SHA-256 (hexadecimal) that it must have; how it came here, and how to get it again."""

    path: Path
    sha256: str
    origin: str = "released"
    remedy: str = "Install ctiqa-node again."


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors by name, in float32 whatever the file keeps, and the metadata that training wrote beside them."""

    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load(file: WeightsFile) -> Weights:
    """Check a weights file against its SHA-256 and read it; WeightsError when it is missing or another file.

    Nothing in the file is executed: safetensors holds numbers and text only.
    """
    from safetensors import safe_open

    try:
        if not file.path.is_file():
            raise WeightsError(f"The weights file {file.path} is missing. {file.remedy}")
        found = sha256_of(file.path)
    except OSError as error:
        raise WeightsError(f"The weights file {file.path} cannot be read: {error.strerror}.") from error
    if found != file.sha256:
        raise WeightsError(
            f"The weights file {file.path} is not the one that was {file.origin}: its SHA-256 should be {file.sha256} "
            f"but is {found}. It is damaged or was replaced, and is not used. {file.remedy}"
        )
    with safe_open(file.path, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
        metadata = dict(opened.metadata() or {})
    wide = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    return Weights(wide, metadata)


def save(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> WeightsFile:
    """Write tensors to a safetensors file, matrices and kernels in float16, and answer with its SHA-256.

    Vectors (biases, running means and variances) stay float32: they are a few kilobytes, and a small variance would
    lose its digits in float16.
    """
    from safetensors.torch import save_file

    narrow = {
        name: (tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor).contiguous().cpu()
        for name, tensor in tensors.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(narrow, path, metadata=dict(metadata))
    _sort_header(path)
    return WeightsFile(path, sha256_of(path))


def _sort_header(path: Path) -> None:
    """Put the header's keys in order: safetensors shuffles them, and the same weights would never hash alike.

    The file is the header's length (8 bytes, little-endian), the header in JSON, padded with spaces, and the numbers.
    """
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True, ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[start:])
