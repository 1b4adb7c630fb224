"""The page on configuration stays true."""

from __future__ import annotations

import re
from pathlib import Path

from ctiqa_node.config import ObjectSwitches, keys
from ctiqa_node.profiles import PROFILES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text()
ROW = re.compile(r"^\| `([a-z_.\[\]]+)` \| (.+?) \|", re.MULTILINE)


def test_every_key_is_documented_and_no_other() -> None:
    assert sorted(name for name, _ in ROW.findall(PAGE)) == sorted(name for name, _ in keys())


def test_the_documented_defaults_are_the_defaults() -> None:
    documented = dict(ROW.findall(PAGE))
    for name, default in keys():
        if "[]" in name or name in {"node.state_dir", "worker.assessors"}:
            continue
        shown = "[]" if default == () else f"{default:g}" if isinstance(default, float) else str(default)
        shown = shown.lower() if isinstance(default, bool) else shown
        assert documented[name] == f"`{shown}`", name


def test_the_documented_profiles_are_those_that_hold() -> None:
    header = re.search(r"^\| profile \| (.+) \|$", PAGE, re.MULTILINE)
    assert header
    names = header[1].replace("`", "").split(" | ")
    assert names == list(ObjectSwitches.model_fields)
    rows = re.findall(r"^\| ([a-z-]+) \| ((?:yes|–)(?: \| (?:yes|–))*) \|$", PAGE, re.MULTILINE)
    documented = {
        profile: {name for name, cell in zip(names, cells.split(" | "), strict=True) if cell == "yes"}
        for profile, cells in rows
    }
    assert documented == PROFILES


def test_every_page_that_a_page_links_to_exists() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
