"""Weights are trusted only when their SHA-256 is right, and the catalog makes what it names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ctiqa_models import catalog, weights
from ctiqa_models.weights import WeightsError, WeightsFile


@pytest.fixture
def some_file(tmp_path: Path) -> WeightsFile:
    tensors = {"kernel": torch.randn(4, 3, 3, 3), "bias": torch.tensor([1e-7, 2.0]), "count": torch.tensor(3)}
    return weights.save(tmp_path / "some.safetensors", tensors, {"model": "some", "note": "µ"})


def test_what_was_saved_comes_back(some_file: WeightsFile) -> None:
    loaded = weights.load(some_file)
    assert loaded.metadata == {"model": "some", "note": "µ"}
    assert loaded.tensors["kernel"].dtype == torch.float32
    assert loaded.tensors["bias"].tolist() == pytest.approx([1e-7, 2.0], rel=1e-6)
    assert loaded.tensors["count"].item() == 3


def test_the_same_weights_and_words_always_hash_alike(tmp_path: Path) -> None:
    tensors = {f"layer{index}.weight": torch.full((3, 2), float(index)) for index in range(8)}
    words = {f"key{index}": "größer" * index for index in range(12)}
    hashes = {weights.save(tmp_path / f"{index}.safetensors", tensors, words).sha256 for index in range(6)}
    assert len(hashes) == 1
    loaded = weights.load(WeightsFile(tmp_path / "0.safetensors", hashes.pop()))
    assert loaded.metadata == words
    assert all(torch.equal(loaded.tensors[name], tensors[name]) for name in tensors)


def test_kernels_are_kept_in_half_precision(some_file: WeightsFile) -> None:
    values = weights.load(some_file).tensors["kernel"]
    assert torch.equal(values, values.half().float())


def test_one_changed_byte_is_refused_with_a_sentence(some_file: WeightsFile) -> None:
    content = bytearray(some_file.path.read_bytes())
    content[-1] ^= 1
    some_file.path.write_bytes(content)
    with pytest.raises(WeightsError) as refused:
        weights.load(some_file)
    sentence = str(refused.value)
    assert str(some_file.path) in sentence
    assert some_file.sha256 in sentence
    assert weights.sha256_of(some_file.path) in sentence
    assert "Install ctiqa-node again" in sentence


def test_a_missing_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.safetensors is missing"):
        weights.load(WeightsFile(tmp_path / "none.safetensors", "0" * 64))


def test_the_shipped_weights_are_the_released_ones_and_small() -> None:
    loaded = weights.load(catalog.N2Q_WEIGHTS)
    assert loaded.metadata["model"] == "n2q"
    assert catalog.N2Q_WEIGHTS.path.stat().st_size <= 6_000_000


def test_every_name_makes_an_assessor_of_that_name() -> None:
    made = catalog.assessors(device="cpu")
    assert [assessor.identity.name for assessor in made] == list(catalog.NAMES)
    assert {"snr", "brisque", "noise_level", "n2q"} <= set(catalog.NAMES)


def test_only_the_wanted_assessors_are_made() -> None:
    assert [assessor.identity.name for assessor in catalog.assessors("cpu", ["n2q", "snr"])] == ["n2q", "snr"]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no such model: tea\. There are: tfkt, "):
        catalog.assessors("cpu", ["tea"])


def test_an_assessor_is_not_made_from_replaced_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = weights.save(tmp_path / "other.safetensors", {"a": torch.zeros(2, 2)}, {"model": "n2q"})
    monkeypatch.setattr(catalog, "N2Q_WEIGHTS", WeightsFile(other.path, catalog.N2Q_WEIGHTS.sha256))
    with pytest.raises(WeightsError, match="not the one that was released"):
        catalog.assessors("cpu", ["n2q"])


def test_names_are_known_without_importing_torch() -> None:
    code = "import sys; from ctiqa_models import catalog; assert 'n2q' in catalog.NAMES; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment()
    )
    assert answer.stdout.strip() == "False"


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(path for path in sys.path if path), "PATH": "/usr/bin:/bin"}
