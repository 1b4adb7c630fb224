"""`version`: what is installed."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path

from pydantic import BaseModel

from ctiqa_node import __version__
from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.db.revision import current_and_head

_LIBRARIES = ("torch", "pydicom", "pynetdicom", "highdicom", "numpy", "sqlalchemy")


class Versions(BaseModel):
    """What is installed, for a bug report."""

    ctiqa_node: str
    python: str
    platform: str
    database_revision: str
    """The revision of the tables that this version works with."""
    libraries: dict[str, str]


def version(as_json: AsJson = False) -> None:
    """Show the versions of ctiqa-node, Python, the libraries that matter, and the database tables.

    \b
    Examples:
      ctiqa-node version
      ctiqa-node version --json
    """
    found = Versions(
        ctiqa_node=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        database_revision=current_and_head(Path("/nonexistent"))[1],
        libraries={name: _installed(name) for name in _LIBRARIES},
    )
    if as_json:
        console.print_json(found)
        return
    console.out().print(
        console.facts(
            ("ctiqa-node", found.ctiqa_node),
            ("Python", found.python),
            ("Platform", found.platform),
            ("Database revision", found.database_revision),
            *found.libraries.items(),
        )
    )


def _installed(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "not installed"
