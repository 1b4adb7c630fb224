"""The machine and the versions, in words."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path

from bench.figures import Machine
from ctiqa_node import __version__

ALWAYS = ("pydicom", "pynetdicom", "SQLAlchemy", "numpy")


def describe(*, with_gpu: bool = False) -> Machine:
    """This machine; the GPU only where a benchmark uses one, for asking costs seconds and memory."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=f"{platform.system()} {platform.release()}, {_distribution()}",
        gpu=_gpu() if with_gpu else None,
        load_before=round(os.getloadavg()[0], 2),
    )


def versions(*packages: str) -> dict[str, str]:
    """The versions of ours, Python, SQLite and packages."""
    return {
        "ctiqa-node": __version__,
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        **{name: version(name) for name in dict.fromkeys((*ALWAYS, *packages))},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return "unknown distribution"


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
