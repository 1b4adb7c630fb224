"""What a checkpoint claims to become, held against its own length and a limit before anything of that size is made.

torch's restricted unpickler runs no code, but believes sizes: a zip archive may inflate to terabytes, a pickle may ask
for a bytearray of any length, and a tensor may be one number that is repeated without end (a stride of zero).
"""

from __future__ import annotations

import pickletools
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import torch

from ctiqa_models.weights import WeightsError

MOST_BYTES = 4 << 30
"""Of a file, and of its tensors together. The largest network here has half a gigabyte in float32."""
MOST_PICKLED_BYTES = 64 << 20
"""Of what describes the tensors; the numbers themselves lie beside it."""
_DAMAGED = (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError, LookupError, struct.error)
"""What zipfile raises for what is no archive: OSError for a place before the beginning of the file."""
_ZIP_START = b"PK\x03\x04"
_MAKES_ANY_LENGTH = " bytearray"
"""The only builtin that torch's unpickler calls with a length; it knows globals by this opcode alone."""


def require_modest_file(path: Path) -> None:
    """Look a file over that torch or safetensors is to read.

    Raises WeightsError when it is too long, or would become longer than it is; OSError when it cannot be opened.
    """
    if path.stat().st_size > MOST_BYTES:
        raise WeightsError(f"{path} has more than {MOST_BYTES >> 30} GiB: these are no weights of a model here.")
    with path.open("rb") as file:
        if file.read(len(_ZIP_START)) != _ZIP_START:
            file.seek(0)
            _require_modest_pickle(path, file)
            return
    try:
        with zipfile.ZipFile(path) as archive:
            _require_modest_archive(path, archive)
    except _DAMAGED as error:
        raise WeightsError(f"{path} is no PyTorch file: as a zip archive it is damaged ({error}).") from error


def require_modest_tensors(path: Path, tensors: Iterable[torch.Tensor]) -> None:
    """Make sure that tensors which were read have their numbers, and not too many.

    Raises WeightsError when they are sparse, quantised or on no device, or would take more than the limit.
    """
    total = 0
    for tensor in tensors:
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise WeightsError(f"{path} holds a tensor that is no plain array of numbers.")
        total += tensor.numel() * tensor.element_size()
        if total > MOST_BYTES:
            raise WeightsError(f"{path} claims tensors of more than {MOST_BYTES >> 30} GiB, and is not used.")


def _require_modest_archive(path: Path, archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    # torch.save compresses nothing, and entries that overlap claim the same bytes twice.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError(f"{path} is a compressed archive, which torch.save never writes, and is not read.")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise WeightsError(f"{path} is an archive that claims to hold more than its own length, and is not read.")
    for entry in entries:
        if entry.filename.endswith(".pkl"):
            with archive.open(entry) as pickled:
                _require_modest_pickle(path, pickled)


def _require_modest_pickle(path: Path, pickled: IO[bytes]) -> None:
    """Look at each pickle in a stream without building anything; what is no pickle is for torch to refuse."""
    while True:  # torch's old format has several, and the numbers behind them, which end the loop
        try:
            for opcode, argument, position in pickletools.genops(pickled):
                if (position or 0) > MOST_PICKLED_BYTES:
                    raise WeightsError(f"{path} describes its tensors in more than {MOST_PICKLED_BYTES >> 20} MiB.")
                if opcode.name == "GLOBAL" and str(argument).endswith(_MAKES_ANY_LENGTH):
                    raise WeightsError(f"{path} asks for memory of any length (bytearray), and is not read.")
        except (ValueError, IndexError, OverflowError, MemoryError):
            return
