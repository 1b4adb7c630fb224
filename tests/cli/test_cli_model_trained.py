"""`model import --as trained` and `model rm`: a site's own weights in place of those that ship, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cli_state import Run
from safetensors.torch import save_file

from ctiqa_models import catalog
from ctiqa_models.weights import WeightsError, sha256_of

SHIPPED = catalog.N2Q_WEIGHTS


def version(folder: Path) -> str:
    """What results of N2Q name as the version."""
    return catalog.assessors("cpu", ["n2q"], folder)[0].identity.version


def test_trained_weights_take_the_place_of_the_shipped_ones_until_they_are_removed(run: Run, tmp_path: Path) -> None:
    models = tmp_path / "state" / "models"
    shipped = version(models)
    done = run("model", "import", str(SHIPPED.path), "--as", "trained", "--name", "our-ct-2026")
    assert done.exit_code == 0, done.stderr
    assert "n2q.safetensors is imported as n2q, called our-ct-2026." in done.stdout
    assert "They were trained on: " in done.stdout
    assert sha256_of(models / "n2q.safetensors") == SHIPPED.sha256
    (assessor,) = catalog.assessors("cpu", ["n2q"], models)
    assert assessor.identity.version == "our-ct-2026"
    assert assessor.identity.weights_sha256 == SHIPPED.sha256

    (listed,) = run("model", "ls", "--json").json
    assert (listed["model"], listed["label"], listed["sha256"]) == ("n2q", "our-ct-2026", SHIPPED.sha256)
    assert listed["trained_on"] == assessor.identity.trained_on
    assert "this site's training" in run("model", "ls").stdout

    removed = run("model", "rm", "n2q")
    assert "those that ship are used again" in removed.stdout
    assert version(models) == shipped != "our-ct-2026"
    again = run("model", "rm", "n2q")
    assert again.exit_code == 1
    assert "Nothing is installed for 'n2q'" in again.stderr
    assert run("model", "rm", "../../etc").exit_code == 1


def test_without_a_name_the_weights_are_called_by_their_hash(run: Run) -> None:
    done = run("model", "import", str(SHIPPED.path), "--as", "trained")
    assert f"called site-{SHIPPED.sha256[:8]}." in done.stdout


def test_weights_that_changed_after_they_were_installed_are_not_used(run: Run, tmp_path: Path) -> None:
    models = tmp_path / "state" / "models"
    run("model", "import", str(SHIPPED.path), "--as", "trained")
    with (models / "n2q.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(WeightsError, match="is not the one that was installed"):
        version(models)


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ({}, "does not say that it is one of tfkt, chest_ctiqa, n2q"),
        ({"model": "snr"}, "does not say that it is one of"),
        ({"model": "n2q", "recipe": "{}"}, "written by another version"),
    ],
)
def test_what_train_did_not_write_is_refused_and_nothing_is_left(
    run: Run, tmp_path: Path, metadata: dict[str, str], complaint: str
) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, file, metadata=metadata)
    refused = run("model", "import", str(file), "--as", "trained")
    assert refused.exit_code == 1
    assert complaint in refused.stderr
    assert list((tmp_path / "state" / "models").iterdir()) == []


def test_what_is_no_safetensors_file_is_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "state_dict.pth"
    torch.save({"weight": torch.zeros(2)}, file)
    refused = run("model", "import", str(file), "--as", "trained")
    assert refused.exit_code == 1
    assert "state_dict.pth is not a safetensors file" in refused.stderr
