"""Files against what was recorded of them: there, as long as said, and with the same digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

_DIGEST_FROM = 144
"""Preamble, prefix and the element with the length of the file meta information (PS3.10 7.1)."""


@dataclass(frozen=True, slots=True)
class Read:
    """A file as it is: SHA-256 and size, or None and what the system said instead."""

    sha256: str | None
    size: int = 0
    problem: str = ""
    missing: bool = False


def read_file(path: Path) -> Read:
    """Read a whole file, as a stream."""
    return _read(path, dataset_only=False)


def read_dataset(path: Path) -> Read:
    """Read a DICOM file as a stream; the digest is that of its dataset, as the peer encoded it."""
    return _read(path, dataset_only=True)


def _read(path: Path, *, dataset_only: bool) -> Read:
    try:
        with path.open("rb") as file:
            if dataset_only:
                head = file.read(_DIGEST_FROM)
                file.seek(_DIGEST_FROM + int.from_bytes(head[140:144], "little"))
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return Read(digest, file.seek(0, 2))
    except FileNotFoundError:
        return Read(None, missing=True)
    except OSError as error:
        return Read(None, problem=error.strerror or str(error))
