from __future__ import annotations

from pathlib import Path

import pytest
from cli_state import Run


def test_a_good_configuration_is_shown_with_its_source_and_what_differs_from_the_defaults(
    run: Run, config_file: Path
) -> None:
    ran = run("config", "check", "--json")
    assert ran.exit_code == 0
    assert ran.json["source"] == str(config_file)
    settings = {each["key"]: each for each in ran.json["settings"]}
    assert settings["node.port"] == {"key": "node.port", "value": 11999, "is_default": False}
    assert settings["series.quiet_seconds"]["is_default"]
    assert settings["destinations[0].name"]["value"] == "pacs"
    assert run("config", "check", "--changed", "--json").json["settings"] == [
        each for each in ran.json["settings"] if not each["is_default"]
    ]
    assert str(config_file) in run("config", "check").stdout


def test_the_environment_wins_over_the_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTIQA_NODE__PORT", "4242")
    settings = {each["key"]: each["value"] for each in run("config", "check", "--json").json["settings"]}
    assert settings["node.port"] == 4242


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node: {prot: 104}", ["node.prot: unknown key", "allowed here: ae_title, address, port, state_dir"]),
        ("nodes: {port: 104}", ["nodes: unknown key", "node, peers, tls, spool, series, completeness, worker"]),
        ("node: {port: 70000}", ["node.port:", "less than or equal to 65535", "got 70000"]),
        ("worker: {device: gpu}", ["worker.device:", "'auto', 'cpu' or 'cuda'", "got 'gpu'"]),
        ("node: {ae_title: SEVENTEEN_LETTERS}", ["node.ae_title:", "1 to 16 printable ASCII characters"]),
        ("destinations: [{name: a, ae_title: A, host: h, prt: 1}]", ["destinations.0.prt: unknown key", "calling_ae"]),
        ("node: [", ["is not valid YAML"]),
        ("- node", ["must be a mapping of sections"]),
    ],
)
def test_what_is_wrong_is_named_with_its_path_and_what_is_allowed(
    run: Run, tmp_path: Path, text: str, expected: list[str]
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text)
    for command in (["config", "check"], ["serve"], ["status"]):
        ran = run(*command, config=wrong)
        assert ran.exit_code == 2
        assert ran.stdout == ""
        assert str(wrong) in ran.stderr
        assert "Traceback" not in ran.stderr
        for words in expected:
            assert words in ran.stderr


def test_every_wrong_key_is_named_at_once(run: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("node: {prot: 104}\nseries: {min_slices: 0}\n")
    complaint = run("config", "check", config=wrong).stderr
    assert "node.prot" in complaint
    assert "series.min_slices" in complaint


def test_a_configuration_that_is_not_there_is_an_error(run: Run, tmp_path: Path) -> None:
    ran = run("config", "check", config=tmp_path / "none.yaml")
    assert ran.exit_code == 2
    assert "No such file" in ran.stderr


def test_a_model_that_does_not_exist_is_named_with_those_that_do(run: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("worker: {assessors: [snr, magic]}\n")
    for command in (("config", "check"), ("serve",)):
        ran = run(*command, config=wrong)
        assert ran.exit_code == 2
        assert "no such model: magic. There are: tfkt, chest_ctiqa, n2q" in ran.stderr
