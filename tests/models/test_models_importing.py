"""Importing checkpoints: nothing in them runs, nothing odd gets in, and N2Q's notebook gives the same maps."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ctiqa_models import catalog
from ctiqa_models.api import HuVolume, Status
from ctiqa_models.checkpoints import read_checkpoint
from ctiqa_models.importing import KINDS, import_checkpoint
from ctiqa_models.n2q.body import find_anatomy
from ctiqa_models.n2q.preprocess import network_input, to_matrix
from ctiqa_models.n2q.public import build
from ctiqa_models.weights import WeightsError, sha256_of
from support.public_checkpoints import n2q_checkpoint, n2q_forward

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def _picture() -> torch.Tensor:
    return torch.rand(2, 1, 256, 256, generator=torch.Generator().manual_seed(4)) * 2 - 1


class Trap:
    """A pickled object that makes a file when it is read by a careless program."""

    def __init__(self, bait: Path) -> None:
        self.bait = bait

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.bait,)


def test_the_notebooks_weights_give_its_map_and_its_dose_logits() -> None:
    weights = n2q_checkpoint()
    painted, logits = n2q_forward(weights, _picture())
    with torch.inference_mode():
        ours, our_logits = build(weights)(_picture())
    assert torch.allclose(ours, painted, atol=1e-4)
    assert torch.allclose(our_logits, logits, atol=1e-4)
    assert float(painted.std()) > 0.05


def test_a_notebook_without_dose_branch_gives_the_same_map() -> None:
    with torch.inference_mode():
        ours = build(n2q_checkpoint(with_dose=False))(_picture())[0]
    assert torch.allclose(ours, n2q_forward(n2q_checkpoint(), _picture())[0], atol=1e-4)


def test_a_missing_weight_is_named_as_the_notebook_names_it() -> None:
    weights = n2q_checkpoint()
    del weights["dconv_up4.3.bias"]
    weights["dconv_down1.0.weight"] = torch.zeros(16, 2, 3, 3)
    weights["hpf.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError) as refused:
        build(weights)
    assert str(refused.value) == (
        "These are not weights of the public N2Q notebook; missing: dconv_up4.3.bias; unexpected: hpf.weight; "
        "of another shape: dconv_down1.0.weight [16, 2, 3, 3], not [16, 1, 3, 3]."
    )


def test_an_import_is_recorded_and_the_imported_model_assesses(tmp_path: Path) -> None:
    file = tmp_path / "n2q.pth"
    torch.save({f"module.{name}": tensor for name, tensor in n2q_checkpoint().items()}, file)
    installed = import_checkpoint(file, KINDS["n2q"], tmp_path / "models", NOW)
    record = json.loads((tmp_path / "models" / "n2q_imported.json").read_text())
    assert record["sha256"] == installed.sha256 == sha256_of(tmp_path / "models" / "n2q_imported.safetensors")
    assert record["provenance"] == {
        "architecture": "n2q-public",
        "label": f"imported-{sha256_of(file)[:8]}",
        "source_file": "n2q.pth",
        "source_sha256": sha256_of(file),
        "installed_at": "2026-01-02T03:04:05+00:00",
        "trained_on": "unknown data; imported by the site from n2q.pth",
    }
    with safe_open(tmp_path / "models" / "n2q_imported.safetensors", framework="pt") as opened:
        assert opened.metadata() == {"model": "n2q_imported", **record["provenance"]}

    n2q = catalog.assessors("cpu", ["n2q_imported"], tmp_path / "models")[0]
    y, x = np.mgrid[:128, :128] - 63.5
    noise = np.random.default_rng(1).normal(40, 15, (3, 128, 128))
    hu = np.where(np.hypot(x, y) < 50, noise, -1000.0).astype(np.float32)
    assessment = n2q.assess(HuVolume(hu, (5.0, 3.0, 3.0)), lambda share: None)
    assert assessment.status is Status.SCORED, assessment.reason
    assert assessment.classifications == ()
    names = ("n2q_imported_quality", "n2q_imported_quality_spread", "n2q_imported_uncertainty")
    assert {m.name for m in assessment.measurements} == set(names)
    slices = to_matrix(torch.from_numpy(hu))
    painted = (n2q_forward(n2q_checkpoint(), network_input(slices, 1))[0][:, 0].numpy() + 1) / 2
    expected = [float(p[find_anatomy(s).tissue].mean()) for p, s in zip(painted, slices.numpy(), strict=True)]
    found = [m.value for m in assessment.measurements if m.slice_index is not None]
    assert found == pytest.approx(expected, abs=1e-4)


def test_importing_again_replaces_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "n2q.safetensors"
    save_file(n2q_checkpoint(), file)
    first = import_checkpoint(file, KINDS["n2q"], tmp_path / "models", NOW, "one")
    save_file({**n2q_checkpoint(), "conv_last.bias": torch.zeros(1)}, file)
    second = import_checkpoint(file, KINDS["n2q"], tmp_path / "models", NOW, "two")
    assert first.sha256 != second.sha256
    assert catalog.assessors("cpu", ["n2q_imported"], tmp_path / "models")[0].identity.version == "two"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_imports_belongs_to_the_owner_of_the_state_folder(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 4711, 4712)
    save_file(n2q_checkpoint(), tmp_path / "n2q.safetensors")
    import_checkpoint(tmp_path / "n2q.safetensors", KINDS["n2q"], state / "models", NOW)
    made = [state / "models", *(state / "models").iterdir()]
    assert len(made) == 3
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(4711, 4712)}


def test_a_refused_checkpoint_leaves_what_was_installed(tmp_path: Path) -> None:
    file = tmp_path / "n2q.pth"
    torch.save(n2q_checkpoint(), file)
    import_checkpoint(file, KINDS["n2q"], tmp_path / "models", NOW)
    before = {path.name: path.read_bytes() for path in (tmp_path / "models").iterdir()}
    torch.save({"conv_last.bias": torch.zeros(1)}, file)
    with pytest.raises(WeightsError, match=r"missing: dconv_down1\.0\.weight"):
        import_checkpoint(file, KINDS["n2q"], tmp_path / "models", NOW)
    assert {path.name: path.read_bytes() for path in (tmp_path / "models").iterdir()} == before


def test_weights_that_overflow_in_use_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "n2q.pth"
    torch.save({**n2q_checkpoint(), "fc.weight": torch.full((5, 256), 3e38)}, file)
    with pytest.raises(WeightsError, match="not a finite number"):
        import_checkpoint(file, KINDS["n2q"], tmp_path / "models", NOW)


@pytest.mark.parametrize("old_format", [False, True])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, old_format: bool) -> None:
    bait, file = tmp_path / "caught", tmp_path / "evil.pth"
    torch.save({"state_dict": Trap(bait)}, file, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(WeightsError, match=r"reading that would run code.*torch\.save\(model\.state_dict"):
        read_checkpoint(file)
    assert not bait.exists()
    subprocess.run(
        [sys.executable, "-c", f"import torch; torch.load({str(file)!r}, weights_only=False)"],
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parent), "PATH": "/usr/bin:/bin"},
    )
    assert bait.exists(), "the trap must be one"


@pytest.mark.parametrize(
    ("content", "suffix", "words"),
    [
        (b"", ".pth", "no PyTorch file"),
        (b"just a text", ".pth", "no PyTorch file"),
        (b"PK\x03\x04 damaged", ".pth", "no PyTorch file"),
        (b"\x80\x02}q\x00.", ".pth", "no PyTorch file|no state dict"),
        (b"just a text", ".safetensors", "not a safetensors file"),
    ],
    ids=["empty", "text", "half a zip", "a bare pickle", "text as safetensors"],
)
def test_what_is_no_checkpoint_is_refused_with_a_sentence(
    tmp_path: Path, content: bytes, suffix: str, words: str
) -> None:
    file = tmp_path / f"odd{suffix}"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.zeros(3), "holds no state dict"),
        ({}, "holds no state dict"),
        ({"weight": torch.zeros(1), "epoch": 3}, "epoch is not a tensor"),
    ],
)
def test_what_holds_no_state_dict_is_refused(tmp_path: Path, content: object, words: str) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=words):
        read_checkpoint(tmp_path / "odd.pth")


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_state_dicts_are_found_where_trainings_put_them(tmp_path: Path, wrapper: str | None) -> None:
    weights = {"module.a.weight": torch.ones(2), "b.module.bias": torch.zeros(1)}
    torch.save(weights if wrapper is None else {"epoch": 3, wrapper: weights}, tmp_path / "some.pth")
    found = read_checkpoint(tmp_path / "some.pth")
    assert set(found) == {"a.weight", "b.bias"}
    assert found["a.weight"].tolist() == [1, 1]
