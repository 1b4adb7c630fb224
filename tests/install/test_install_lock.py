"""The lock files and pyproject.toml say the same; if not, `make lock` mends it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from locked import entries

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "requirements"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
PYTHONS = ("3.11", "3.12", "3.13")


def _asked_for(*extras: str) -> Iterator[Requirement]:
    """What pyproject.toml asks for, without the project's own extras, which are given by name."""
    for line in (*PROJECT["project"]["dependencies"], *(line for extra in extras for line in EXTRAS[extra])):
        requirement = Requirement(line)
        if requirement.name != PROJECT["project"]["name"]:
            yield requirement


def _pins(lock: str, python: str) -> dict[str, str]:
    machine = {"sys_platform": "linux", "platform_machine": "x86_64", "implementation_name": "cpython"}
    environment = {
        **machine, "python_version": python, "python_full_version": f"{python}.0",
        "platform_python_implementation": "CPython",
    }  # fmt: skip
    return {
        str(canonicalize_name(each.name)): str(each.specifier).removeprefix("==")
        for each, _ in entries(LOCKS / lock)
        if each.marker is None or each.marker.evaluate(dict(environment))
    }


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("lock", "extras"), [("node.txt", ()), ("dev.txt", tuple(EXTRAS))])
def test_a_lock_file_holds_all_that_the_project_asks_for(lock: str, extras: tuple[str, ...], python: str) -> None:
    pins = _pins(lock, python)
    amiss = [
        f"{asked} is locked at {pins.get(str(canonicalize_name(asked.name)))}"
        for asked in _asked_for(*extras)
        if not asked.specifier.contains(pins.get(str(canonicalize_name(asked.name)), "0"), prereleases=True)
    ]
    assert amiss == [], "run `make lock`"


@pytest.mark.parametrize(("lock", "extras"), [("node.txt", ()), ("dev.txt", tuple(EXTRAS))])
def test_a_lock_file_holds_nothing_for_the_project_that_it_no_longer_asks_for(
    lock: str, extras: tuple[str, ...]
) -> None:
    asked = {str(canonicalize_name(each.name)) for each in _asked_for(*extras)}
    blocks = re.split(r"^(?=[a-z0-9])", (LOCKS / lock).read_text(), flags=re.MULTILINE)[1:]
    direct = {block.split("==")[0] for block in blocks if re.search(r"#\s+(via )?ctiqa-node \(", block)}
    assert direct == asked, "run `make lock`"


@pytest.mark.parametrize("lock", ["build.txt", "node.txt", "dev.txt"])
def test_every_entry_is_one_version_with_hashes(lock: str) -> None:
    pins = entries(LOCKS / lock)
    assert len(pins) > 5
    for requirement, hashes in pins:
        assert re.fullmatch(r"==[0-9][^,*]*", str(requirement.specifier)), requirement
        assert hashes, requirement


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", ["build.txt", "node.txt"])
def test_the_lock_files_agree_with_each_other(lock: str, python: str) -> None:
    everything = _pins("dev.txt", python)
    shared = {name: version for name, version in _pins(lock, python).items() if name in everything}
    assert shared == {name: everything[name] for name in shared}
    assert lock != "node.txt" or len(shared) == len(_pins(lock, python))


def test_what_builds_the_project_is_locked() -> None:
    named = [line for line in (LOCKS / "build.in").read_text().splitlines() if not line.startswith("#")]
    assert set(PROJECT["build-system"]["requires"]) <= set(named)
    for asked in map(Requirement, named):
        assert asked.specifier.contains(_pins("build.txt", "3.11")[asked.name])
