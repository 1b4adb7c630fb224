"""Weights as an attack: what would fill the memory is refused before it does, and what torch.save writes is not."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ctiqa_models import checkpoint_claims
from ctiqa_models.checkpoints import read_checkpoint
from ctiqa_models.weights import WeightsError

GIB = 1 << 30


def _saved(content: object, *, old_format: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not old_format)
    return buffer.getvalue()


def _packed_again(content: bytes, how: int, **changed: bytes) -> bytes:
    """The archive that torch wrote, written by Python, with other content for entries that end like that."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as theirs, zipfile.ZipFile(buffer, "w", how) as ours:
        for name in theirs.namelist():
            ours.writestr(name, changed.get(name.rpartition("/")[2].replace(".", "_"), theirs.read(name)))
    return buffer.getvalue()


def _overlapping(content: bytes) -> bytes:
    """Every entry of the archive's directory says that it is as long as the archive, four times over."""
    changed = bytearray(content)
    at = -1
    while (at := changed.find(b"PK\x01\x02", at + 1)) >= 0:
        changed[at + 20 : at + 28] = struct.pack("<LL", len(content), len(content))
    return bytes(changed)


def _refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(WeightsError) as refused:
        read_checkpoint(path)
    return str(refused.value)


@pytest.mark.parametrize("old_format", [False, True])
def test_what_torch_writes_is_read(tmp_path: Path, old_format: bool) -> None:
    path = tmp_path / "good.pth"
    path.write_bytes(_saved({"a": torch.ones(3), "b": torch.zeros(2, 2).half()}, old_format=old_format))
    assert set(read_checkpoint(path)) == {"a", "b"}


def test_a_zip_bomb_is_refused_without_inflating_it(tmp_path: Path) -> None:
    bomb = _packed_again(_saved({"a": torch.ones(3)}), zipfile.ZIP_DEFLATED, **{"0": bytes(64 << 20)})
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        assert "compressed archive" in _refused(tmp_path / "bomb.pth", bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_an_archive_whose_entries_overlap_is_refused(tmp_path: Path) -> None:
    overlapping = _overlapping(_saved({"a": torch.ones(3)}))
    assert "claims to hold more than its own length" in _refused(tmp_path / "overlap.pth", overlapping)


def test_one_number_that_is_repeated_without_end_is_refused(tmp_path: Path) -> None:
    endless = _saved({"a": torch.zeros(1).expand(1 << 40)})
    assert len(endless) < 10_000
    assert "claims tensors of more than 4 GiB" in _refused(tmp_path / "endless.pth", endless)


@pytest.mark.parametrize("module", [b"__builtin__", b"builtins"])
@pytest.mark.parametrize("old_format", [False, True])
def test_a_pickle_that_asks_for_memory_is_refused(tmp_path: Path, old_format: bool, module: bytes) -> None:
    asks = b"\x80\x02c" + module + b"\nbytearray\n\x8a\x06" + (1 << 40).to_bytes(6, "little") + b"\x85R."
    if old_format:
        whole = _saved({"a": torch.ones(3)}, old_format=True)
        content = whole[: whole.index(b"}q\x00X") - 2] + asks
    else:
        content = _packed_again(_saved({"a": torch.ones(3)}), zipfile.ZIP_STORED, data_pkl=asks)
    assert "memory of any length" in _refused(tmp_path / "asks.pth", content)


def test_a_description_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_claims, "MOST_PICKLED_BYTES", 5000)
    many = _saved({f"weight{number}": torch.zeros(1) for number in range(100)})
    assert "describes its tensors in more than" in _refused(tmp_path / "many.pth", many)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.sparse_coo_tensor(torch.zeros(1, 1).long(), torch.ones(1), (1 << 40,)),
        lambda: torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8),
        lambda: torch.zeros(1 << 40, device="meta"),
    ],
    ids=["sparse", "quantised", "on no device"],
)
def test_what_is_no_plain_array_is_refused(tmp_path: Path, make: Callable[[], torch.Tensor]) -> None:
    assert "no plain array of numbers" in _refused(tmp_path / "odd.pth", _saved({"a": make()}))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_too_long_is_refused_unread(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"long{suffix}"
    with path.open("wb") as file:
        file.truncate(5 * GIB)  # takes no room on the disk
    with pytest.raises(WeightsError, match="more than 4 GiB"):
        read_checkpoint(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_whatever_is_broken_in_a_checkpoint_it_is_read_or_refused(tmp_path: Path) -> None:
    chance, path = random.Random(5), tmp_path / "broken.pth"
    for number in range(400):
        whole = bytearray(_saved({"a": torch.ones(3), "b": {"c": torch.zeros(2)}}, old_format=number % 2 == 0))
        for _ in range(chance.randint(1, 5)):
            whole[chance.randrange(len(whole))] = chance.randrange(256)
        path.write_bytes(whole)
        try:
            read_checkpoint(path)
        except WeightsError:
            continue
