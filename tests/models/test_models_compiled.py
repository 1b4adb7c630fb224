"""Compiled networks: the numbers of the network that was compiled, and nothing sent to anybody."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from ctiqa_models import catalog
from ctiqa_models.api import HuVolume
from ctiqa_models.compiled import compile_network
from ctiqa_models.n2q.assess import N2q
from ctiqa_models.n2q.network import N2qNetwork
from ctiqa_models.n2q.release import read_release
from ctiqa_models.tfkt.assess import Tfkt
from ctiqa_models.trunk.gate import TrunkGate

CPU = torch.device("cpu")


class _Looking(nn.Module):
    def __init__(self, network: N2qNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.network.look(images)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_compiled_network_gives_the_numbers_of_the_network_for_any_number_of_images(count: int) -> None:
    network = _Looking(read_release(catalog.N2Q_WEIGHTS).network)
    images = torch.rand(count, 2, 64, 64, generator=torch.Generator().manual_seed(count))
    with torch.inference_mode():
        expected = network(images)
    found = compile_network(network, (2, 64, 64), CPU)(images)
    assert [one.shape for one in found] == [one.shape for one in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.numpy() == pytest.approx(theirs.numpy(), abs=2e-5)


def test_answers_stay_what_they_were_when_the_network_is_asked_again() -> None:
    network = compile_network(_Looking(read_release(catalog.N2Q_WEIGHTS).network), (2, 64, 64), CPU)
    first = network(torch.rand(2, 2, 64, 64))
    kept = [one.clone() for one in first]
    network(torch.rand(2, 2, 64, 64))
    assert all(torch.equal(one, other) for one, other in zip(first, kept, strict=True))


def test_compiling_calls_nobody() -> None:
    program = """
import sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        print(event, arguments)
sys.addaudithook(watch)
import torch
from ctiqa_models.compiled import compile_network
class Twice(torch.nn.Module):
    def forward(self, images): return (images * 2,)
print(compile_network(Twice(), (1, 2, 2), torch.device("cpu"))(torch.ones(1, 1, 2, 2))[0].sum().item())
import socket, contextlib
with contextlib.suppress(OSError):
    socket.create_connection(("127.0.0.1", 9), timeout=1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    first, *rest = done.stdout.splitlines()
    assert first == "8.0"
    assert rest, "the hook saw nothing of our own connection"
    assert all("127.0.0.1" in line for line in rest)


def test_two_models_look_at_a_slice_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    objection = TrunkGate.objection

    def counted(*arguments: object) -> object:
        asked.append(1)
        return objection(*arguments)

    monkeypatch.setattr(TrunkGate, "objection", counted)
    tfkt, n2q = catalog.assessors("cpu", ["tfkt", "n2q"])
    assert isinstance(tfkt, Tfkt)
    assert isinstance(n2q, N2q)
    rows, columns = np.mgrid[:512, :512] - 255.5
    disc = np.where(np.hypot(rows, columns) < 180, 40.0, -1000.0).astype(np.float32)
    volume = HuVolume(np.stack([disc] * 3), (3.0, 0.75, 0.75))
    first = tfkt.assess(volume, lambda share: None)
    second = n2q.assess(volume, lambda share: None)
    assert len(asked) == 3
    assert first.reason_code == second.reason_code
    assert second == n2q.assess(HuVolume(volume.hu, volume.spacing_mm), lambda share: None)
