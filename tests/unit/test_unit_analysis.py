"""The door to the models: what happens when one of them cannot be had."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from ctiqa_models import catalog
from ctiqa_models.api import Assessment, HuVolume, Measurement, ModelIdentity, Progress, Status
from ctiqa_models.n2q.release import read_release
from ctiqa_models.weights import WeightsError, WeightsFile, load, save, sha256_of
from ctiqa_node.analysis import Analyst
from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.volume import CtVolume
from ctiqa_node.ct.writer import write_series
from ctiqa_node.errors import RetryLater
from ctiqa_node.report.verdicts import NotScoredReason


@pytest.fixture
def volume(tmp_path: Path) -> CtVolume:
    """A cylinder of noisy water, 30 cm wide."""
    rows, columns = np.mgrid[:128, :128] - 63.5
    disc = np.hypot(rows, columns) < 50
    noise = np.random.default_rng(1).normal(40, 12, (6, 128, 128))
    return load_series(write_series(np.where(disc, noise, -1000.0), (5.0, 3.0, 3.0), tmp_path / "ct"))


def test_a_weights_file_with_a_wrong_hash_is_named_and_the_other_models_go_on(
    volume: CtVolume,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    released = catalog.N2Q_WEIGHTS
    damaged = tmp_path / "n2q.safetensors"
    shutil.copy(released.path, damaged)
    with damaged.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    monkeypatch.setattr(catalog, "N2Q_WEIGHTS", WeightsFile(damaged, released.sha256))
    noise, n2q = Analyst("cpu", ["noise_level", "n2q"]).assess(volume, lambda share: None)
    assert noise.model.status == "scored"
    assert n2q.model.status == "not_scored"
    assert n2q.model.reason == "its weights are missing or not the released ones; the node's log tells more"
    assert n2q.model.reason_code is NotScoredReason.NO_WEIGHTS
    logged = "".join(capsys.readouterr()) + caplog.text  # whichever an earlier test has set up
    assert released.sha256 in logged
    assert sha256_of(damaged) in logged


def test_weights_of_another_version_are_refused_with_a_sentence(tmp_path: Path) -> None:
    released = load(catalog.N2Q_WEIGHTS)
    other = save(tmp_path / "other.safetensors", dict(released.tensors), {**released.metadata, "recipe": '{"new": 1}'})
    with pytest.raises(WeightsError, match="another version of ctiqa-node"):
        read_release(other)


def test_progress_runs_from_nought_to_one_over_all_models(volume: CtVolume) -> None:
    shares: list[float] = []
    Analyst("cpu", ["snr", "noise_level"]).assess(volume, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert any(0 < share < 0.6 for share in shares)


def test_the_same_volume_gives_the_same_numbers(volume: CtVolume) -> None:
    analyst = Analyst("cpu", ["snr", "noise_level", "n2q"])
    first, second = (analyst.assess(volume, lambda share: None) for _ in range(2))
    assert [a.model.measurements for a in first] == [b.model.measurements for b in second]


class _Confused:
    """A model that gives a value which is no number, as one with broken weights would."""

    identity = ModelIdentity(name="confused", version="1", summary="gives NaN", trained_on="nothing")

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        return Assessment(
            identity=self.identity, status=Status.SCORED, measurements=(Measurement("confused", float("nan"), "1"),)
        )


def test_a_value_that_is_no_number_is_not_scored_and_the_other_models_go_on(
    volume: CtVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = catalog.assessors
    monkeypatch.setattr(
        catalog,
        "assessors",
        lambda device, names, folder, batch: [_Confused()] if names == ["n2q"] else shipped(device, names),
    )
    noise, confused = Analyst("cpu", ["noise_level", "n2q"]).assess(volume, lambda share: None)
    assert noise.model.status == "scored"
    assert (confused.model.status, confused.model.measurements) == ("not_scored", ())
    assert confused.model.reason == "it gave nan for confused, which is no number"
    assert confused.model.reason_code is NotScoredReason.NO_NUMBER


class _Hungry:
    """A model that never has enough memory on a GPU, and on the CPU only when it looks at single slices."""

    identity = ModelIdentity("n2q", "1", "Wants memory.", "nothing")
    asked: ClassVar[list[tuple[str, int | None]]] = []

    def __init__(self, device: str, batch: int | None, enough: bool) -> None:
        self._device, self._batch, self._enough = device, batch, enough

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        del volume, progress
        self.asked.append((self._device, self._batch))
        if self._device == "cuda" or not self._enough:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return Assessment(self.identity, Status.SCORED, measurements=(Measurement("n2q_quality", 0.5, "1"),))


@pytest.fixture
def hungry(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Analyst]:
    """hungry(device, enough=True): an analyst with `_Hungry` models, on a machine that seems to have a GPU."""

    def make(device: str, enough: bool = True) -> Analyst:
        _Hungry.asked.clear()
        monkeypatch.setattr("ctiqa_node.analysis._usable_device", lambda asked: asked)
        monkeypatch.setattr(catalog, "assessors", lambda device, names, folder, batch: [_Hungry(device, batch, enough)])
        return Analyst(device, ["n2q"])

    return make


def test_what_does_not_fit_the_gpu_is_done_by_the_cpu(volume: CtVolume, hungry: Callable[..., Analyst]) -> None:
    (found,) = hungry("cuda").assess(volume, lambda share: None)
    assert found.model.status == "scored"
    assert _Hungry.asked == [("cuda", None), ("cpu", 1)]


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_what_fits_nowhere_is_tried_later(volume: CtVolume, hungry: Callable[..., Analyst], device: str) -> None:
    with pytest.raises(RetryLater, match="memory ran out while n2q looked at one slice"):
        hungry(device, enough=False).assess(volume, lambda share: None)
    assert _Hungry.asked[-1][0] == "cpu"


def test_a_second_attempt_looks_at_single_slices_and_a_third_leaves_the_gpu_alone(
    volume: CtVolume, hungry: Callable[..., Analyst]
) -> None:
    analyst = hungry("cuda")
    analyst.assess(volume, lambda share: None, attempt=2)
    assert _Hungry.asked == [("cuda", 1), ("cpu", 1)]
    _Hungry.asked.clear()
    analyst.assess(volume, lambda share: None, attempt=3)
    assert _Hungry.asked == [("cpu", 1)]


def test_attempts_with_little_memory_give_the_same_numbers(volume: CtVolume) -> None:
    analyst = Analyst("cpu", ["noise_level", "n2q"], threads=1)
    first, again = (analyst.assess(volume, lambda share: None, attempt) for attempt in (1, 2))
    for one, other in zip(first, again, strict=True):
        assert one.model.status == other.model.status
        assert one.model.reason == other.model.reason
        assert [m.name for m in one.model.measurements] == [m.name for m in other.model.measurements]
        values = [[m.value for m in each.model.measurements] for each in (one, other)]
        assert values[0] == pytest.approx(values[1], abs=1e-5)
