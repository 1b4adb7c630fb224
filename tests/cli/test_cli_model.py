"""`model import` and `model ls`, and imported weights on their way into values and reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cli_state import Run, body

from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.weights import sha256_of
from ctiqa_node.ct.writer import write_series
from support.public_checkpoints import n2q_checkpoint
from support.tfkt_release import write_untrained

MODELS = Path("state") / "models"


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A checkpoint of the N2Q notebook."""
    file = tmp_path / "mayo.pth"
    torch.save(n2q_checkpoint(), file)
    return file


@pytest.fixture
def with_assessors(config_file: Path) -> Path:
    """The configuration, with both models that need imported weights."""
    config_file.write_text(config_file.read_text() + "worker: {assessors: [snr, tfkt, tfkt_imported, n2q_imported]}\n")
    return config_file


def test_an_import_tells_what_it_did_and_what_to_do(run: Run, notebook: Path, tmp_path: Path) -> None:
    done = run("model", "import", str(notebook), "--as", "n2q", "--name", "mayo-2022")
    assert done.exit_code == 0, done.stderr
    weights = tmp_path / MODELS / "n2q_imported.safetensors"
    assert "mayo.pth is imported as n2q_imported, called mayo-2022." in done.stdout
    assert sha256_of(notebook) in done.stdout
    assert sha256_of(weights) in done.stdout
    assert "put n2q_imported into worker.assessors and restart the node" in done.stdout


def test_what_was_imported_is_listed(run: Run, notebook: Path, tmp_path: Path) -> None:
    assert "No weights were imported" in run("model", "ls").stdout
    assert run("model", "ls", "--json").json == []
    run("model", "import", str(notebook), "--as", "n2q")
    label = f"imported-{sha256_of(notebook)[:8]}"
    table = run("model", "ls").stdout
    assert "n2q_imported" in table
    assert label in table
    (listed,) = run("model", "ls", "--json").json
    assert listed["label"] == label
    assert listed["source_file"] == "mayo.pth"
    assert listed["sha256"] == sha256_of(tmp_path / MODELS / "n2q_imported.safetensors")


def test_a_checkpoint_of_another_architecture_is_refused_and_nothing_is_left(
    run: Run, notebook: Path, tmp_path: Path
) -> None:
    refused = run("model", "import", str(notebook), "--as", "tfkt-v2")
    assert refused.exit_code == 1
    assert "not weights of the public TFKT V2 code; missing: effnetv2l.features.0.0.weight" in refused.stderr
    assert "unexpected: dconv_down1.0.weight" in refused.stderr
    assert list((tmp_path / MODELS).iterdir()) == []


def test_wrong_usage_is_refused_before_anything_is_read(run: Run, notebook: Path) -> None:
    assert run("model", "import", str(notebook), "--as", "vgg").exit_code == 2
    assert run("model", "import", str(notebook)).exit_code == 2
    assert run("model", "import", str(notebook) + "x", "--as", "n2q").exit_code == 2
    badly_named = run("model", "import", str(notebook), "--as", "n2q", "--name", "a b")
    assert badly_named.exit_code == 2
    assert "--name" in badly_named.stderr


def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(run: Run, notebook: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / MODELS).write_text("in the way")
    refused = run("model", "import", str(notebook), "--as", "n2q")
    assert refused.exit_code == 2
    assert "Traceback" not in refused.stderr
    assert str(tmp_path / "state") in refused.stderr


def test_a_damaged_record_is_named(run: Run, notebook: Path, tmp_path: Path) -> None:
    run("model", "import", str(notebook), "--as", "n2q")
    (tmp_path / MODELS / "n2q_imported.json").write_text("{")
    refused = run("model", "ls")
    assert refused.exit_code == 1
    assert "n2q_imported.json cannot be read" in refused.stderr


def test_without_imported_weights_the_report_says_what_is_missing(
    run: Run, with_assessors: Path, tmp_path: Path
) -> None:
    write_series(body(6), (5, 4, 4), tmp_path / "ct")
    (series,) = run("assess", str(tmp_path / "ct"), "--json").json
    by_name = {model["model"]: model for model in series["models"]}
    assert by_name["snr"]["status"] == "scored"
    assert by_name["tfkt_imported"]["status"] == by_name["n2q_imported"]["status"] == "not_scored"
    assert by_name["tfkt_imported"]["reason"].startswith("no TFKT weights of the site's own are installed; import a")


def test_installed_weights_appear_in_values_report_and_page(
    run: Run, with_assessors: Path, notebook: Path, tmp_path: Path
) -> None:
    patient = anatomy(5, 6, 96, 384.0, 5.0)
    trained = write_untrained(tmp_path / "run" / "tfkt.safetensors", torch.from_numpy(patient))
    run("model", "import", str(trained.path), "--as", "trained")
    run("model", "import", str(notebook), "--as", "n2q", "--name", "mayo-2022")
    write_series(patient.astype(np.float64), (5, 4, 4), tmp_path / "ct")
    done = run("assess", str(tmp_path / "ct"), "--out", str(tmp_path / "out"), "--json")
    (series,) = done.json
    by_name = {model["model"]: model for model in series["models"]}
    assert by_name["tfkt"]["weights_sha256"] == trained.sha256
    assert len(by_name["tfkt"]["slices"]) == 6
    values = {m["name"]: m["value"] for m in by_name["tfkt"]["measurements"]}
    assert set(values) == {"tfkt_score", "tfkt_spread", "tfkt_minimum", "tfkt_median", "tfkt_uncertainty"}
    assert 0 <= values["tfkt_minimum"] <= values["tfkt_median"] <= 4
    assert by_name["n2q_imported"]["version"] == "mayo-2022"
    report = (tmp_path / "out" / "series-01" / "report.txt").read_text()
    for text in (
        "TFKT score: ",
        "TFKT score of the worst slice: ",
        "N2Q quality, imported weights: ",
        "random numbers",
    ):
        assert text in report
    assert (tmp_path / "out" / "series-01" / "summary.png").stat().st_size > 10_000
    assert "TFKT score" in run("assess", str(tmp_path / "ct")).stdout
