"""The command line and its page in docs/ must tell the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cli_state import Run
from typer.main import get_command

from ctiqa_node.cli.app import app

DOCS = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
GLOBAL_OPTIONS = {"--config", "--help"}


def commands() -> dict[str, set[str]]:
    """Every command as it is typed, with its options."""
    return dict(_walk(get_command(app), "ctiqa-node"))


def _walk(command: Any, name: str) -> list[tuple[str, set[str]]]:
    children = getattr(command, "commands", None)
    if children is None:
        return [(name, {option for p in command.params for option in p.opts if option.startswith("--")} - {"--help"})]
    return [each for key, child in children.items() for each in _walk(child, f"{name} {key}")]


def sections() -> dict[str, str]:
    """The documented commands, each with the text of its section."""
    parts = re.split(r"^## ", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {}
    for part in parts:
        heading, _, text = part.partition("\n")
        if match := re.fullmatch(r"`(ctiqa-node [a-z ]+)`", heading):
            found[match[1]] = text
    return found


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    assert set(sections()) == set(commands())


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_section_names_every_option_of_its_command_and_no_other(name: str) -> None:
    text = sections()[name]
    described = set(re.findall(r"^\| `(--[a-z-]+)` \|", text, flags=re.MULTILINE))
    assert described == commands()[name]
    others = "|".join(other for other in commands() if other != name)
    own = re.sub(rf"(?:{others}) [^\n`]*", "", text)  # a text may show how to go on with another command
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", own))
    assert used <= commands()[name] | GLOBAL_OPTIONS


def test_no_text_names_a_command_that_does_not_exist() -> None:
    known = set(commands())
    groups = {name.rsplit(" ", 1)[0] for name in known}
    for typed in re.findall(r"ctiqa-node (?:--config \S+ )?([a-z]+(?: [a-z]+)?)", DOCS.read_text(encoding="utf-8")):
        words = typed.split()
        candidates = {f"ctiqa-node {' '.join(words[:count])}" for count in (1, 2)}
        assert candidates & known, typed
        assert not (candidates & known) & groups


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_section_shows_an_example_with_its_answer(name: str) -> None:
    examples = re.findall(r"```console\n(.*?)```", sections()[name], flags=re.DOTALL)
    assert any(f"$ {name}" in example and len(example.splitlines()) > 1 for example in examples)


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_help_shows_an_example_that_is_typed_like_the_command(run: Run, name: str) -> None:
    shown = run(*name.split()[1:], "--help")
    assert shown.exit_code == 0
    assert re.search(rf"^ *{name}", shown.stdout.split("Examples:")[1], flags=re.MULTILINE)
