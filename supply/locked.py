"""Reading the lock files in `requirements/`, as pip would for the Python that runs this."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """One package: the version that is installed, and the SHA-256 of each file that it may come from."""

    version: str
    sha256: tuple[str, ...]


def entries(lock: Path) -> list[tuple[Requirement, tuple[str, ...]]]:
    """All entries of a lock file, for whatever Python, each with its hashes."""
    text = re.sub(r"^\s*#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [
        (Requirement(line.split(" --hash")[0]), tuple(_HASH.findall(line)))
        for line in text.splitlines()
        if line.strip()
    ]


def locked(lock: Path) -> dict[str, Pin]:
    """What this Python would install, by canonical name."""
    return {
        str(canonicalize_name(requirement.name)): Pin(str(requirement.specifier).removeprefix("=="), hashes)
        for requirement, hashes in entries(lock)
        if requirement.marker is None or requirement.marker.evaluate()
    }
