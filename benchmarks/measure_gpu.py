"""Inference on a GPU: everything that docs/performance.md tells of one, unattended and in one go.

    python benchmarks/measure_gpu.py [--rounds 5]

Without a GPU it says so, and every line is "not measured". TFKT large has random numbers for weights: none ship, and
speed does not hang on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from bench.figures import Line, Measured, Target, at_least, at_most, compared, counted, not_measured
from bench.running import Options, run
from bench.timing import alternate, say
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ctiqa_models import catalog
from ctiqa_models.api import Assessor, HuVolume, Status
from ctiqa_models.simulation.series import Scan, simulate_series
from ctiqa_models.tfkt.config import TfktConfig
from ctiqa_models.tfkt.network import TfktNetwork
from ctiqa_models.tfkt.preprocess import network_input

SLICES, DRAWN, SIDE = 300, 12, 512
LARGE = "TFKT large, bfloat16, 512×512, with preprocessing"
QUICK = "N2Q over a series of 300 slices"
TARGETS: dict[str, Target] = {LARGE: at_least(1000, "value"), QUICK: at_most(0.3, "value")}
BATCHES = (256, 128, 64, 32, 16, 8)
MATRIX, COPIED_MIB = 8192, 2048


def measure(options: Options) -> tuple[Sequence[Line], Sequence[str]]:
    """The GPU's roofs, TFKT large under them, and the shipped models as the node runs them."""
    if not torch.cuda.is_available():
        return [not_measured(what, "this machine has no GPU", target) for what, target in TARGETS.items()], ()
    volume = _series()
    product, bandwidth = _roofs(options)
    lines = [product, bandwidth, *_large(volume, product, bandwidth, options), *_shipped(volume, options)]
    return lines, (f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}; {SLICES} slices of {SIDE}×{SIDE}.",)


def _series() -> HuVolume:
    say(f"drawing {DRAWN} slices")
    drawn = simulate_series(seed=11, slices=DRAWN, size=SIDE, scan=Scan(0.5))
    return HuVolume(drawn.hu[np.arange(SLICES) % DRAWN], (1.0, *drawn.spacing_mm[1:]))


def _timed(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, Measured]:
    """As `alternate`, until the GPU has done what it was told."""

    def until_done(case: Callable[[], object]) -> Callable[[], object]:
        def wait() -> None:
            case()
            torch.cuda.synchronize()

        return wait

    return alternate({name: until_done(case) for name, case in cases.items()}, rounds, warm_up=2)


def _roofs(options: Options) -> tuple[Line, Line]:
    """What the GPU can compute and copy at most, as measured here."""
    matrix = torch.rand(MATRIX, MATRIX, device="cuda", dtype=torch.bfloat16)
    some = torch.empty(COPIED_MIB << 20, dtype=torch.uint8, device="cuda")
    other = torch.empty_like(some)
    took = _timed(
        {
            "product": lambda: [matrix @ matrix for _ in range(20)],
            "copy": lambda: [other.copy_(some) for _ in range(20)],
        },
        options.rounds,
    )
    product = took["product"].per_second(20 * 2 * MATRIX**3 / 1e12, "TFLOP/s")
    copied = took["copy"].per_second(20 * 2 * some.numel() / 1e9, "GB/s")
    return (
        compared(f"a matrix product, {MATRIX}×{MATRIX}, bfloat16", product),
        compared(f"memory read and written in a copy of {COPIED_MIB} MiB", copied),
    )


@dataclass(slots=True)
class _Traffic:
    """Bytes that the layers of a network read and write, if none is fused with another."""

    bytes: int = 0
    hooks: list[torch.utils.hooks.RemovableHandle] = field(default_factory=list)

    def add(self, module: nn.Module, given: tuple[object, ...], answer: object) -> None:
        tensors = [one for one in (*given, answer, *module.parameters(recurse=False)) if isinstance(one, torch.Tensor)]
        self.bytes += sum(one.numel() * one.element_size() for one in tensors)


@contextmanager
def _traffic_of(network: nn.Module) -> Iterator[_Traffic]:
    traffic = _Traffic()
    for module in network.modules():
        if not list(module.children()):
            traffic.hooks.append(module.register_forward_hook(traffic.add))
    yield traffic
    for hook in traffic.hooks:
        hook.remove()


def _large(volume: HuVolume, product: Line, bandwidth: Line, options: Options) -> list[Line]:
    torch.manual_seed(1)
    network = TfktNetwork(TfktConfig(size="large")).eval().to(memory_format=torch.channels_last).cuda().bfloat16()
    hu = torch.from_numpy(volume.hu.astype(np.int16)).pin_memory()

    @torch.inference_mode()
    def look(batch: int) -> list[torch.Tensor]:
        scores = []
        for some in torch.split(hu, batch):
            images = network_input(some.cuda(non_blocking=True).float())
            scores.append(network(images.bfloat16().contiguous(memory_format=torch.channels_last)))
        return scores

    batch = _largest_batch(look)
    one = torch.zeros(1, 1, SIDE, SIDE, device="cuda", dtype=torch.bfloat16)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter, _traffic_of(network) as traffic:
        network(one)
    flops, moved = counter.get_total_flops(), traffic.bytes
    took = _timed({"large": lambda: look(batch)}, options.rounds)["large"]
    rate = took.per_second(SLICES, "slices/s")
    return [
        compared(LARGE, rate, None, TARGETS[LARGE], note=f"{batch} slices at once"),
        compared(f"… its {flops / 1e9:.0f} GFLOP a slice", took.per_second(flops * SLICES / 1e12, "TFLOP/s"), product),
        compared(f"… its {moved / 1e9:.1f} GB a slice", took.per_second(moved * SLICES / 1e9, "GB/s"), bandwidth),
        counted("… memory of the GPU at most", round(torch.cuda.max_memory_allocated() / 2**30, 1), "GiB"),
    ]


def _largest_batch(look: Callable[[int], object]) -> int:
    for batch in BATCHES:
        try:
            look(batch)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
        else:
            return batch
    raise RuntimeError(f"the GPU has no memory for {BATCHES[-1]} slices")


def _shipped(volume: HuVolume, options: Options) -> list[Line]:
    """The models that ship, whole, as the node runs them on this GPU; and how far their numbers are from the CPU's."""
    names = ("tfkt", "n2q")
    here, cpu = ({name: catalog.assessors(device, [name])[0] for name in names} for device in ("cuda", "cpu"))
    took = _timed({name: lambda name=name: _assess(here[name], volume) for name in names}, options.rounds)  # type: ignore[misc]
    lines = [
        compared("TFKT compact, as the node runs it", took["tfkt"].per_second(SLICES, "slices/s")),
        compared(QUICK, took["n2q"], None, TARGETS[QUICK]),
    ]
    some = HuVolume(volume.hu[:DRAWN], volume.spacing_mm)
    for name, most in (("tfkt", 0.02), ("n2q", 0.01)):
        away = _distance(here[name], cpu[name], some)
        lines.append(counted(f"{name}: largest difference from the CPU", round(away, 6), "1", at_most(most, "value")))
    return lines


def _assess(assessor: Assessor, volume: HuVolume) -> dict[tuple[str, int | None], float]:
    found = assessor.assess(HuVolume(volume.hu, volume.spacing_mm), lambda _share: None)
    if found.status is not Status.SCORED:
        raise RuntimeError(f"{found.identity.name} does not score the series of the benchmark: {found.reason}")
    return {(one.name, one.slice_index): one.value for one in found.measurements}


def _distance(one: Assessor, other: Assessor, volume: HuVolume) -> float:
    ours, theirs = _assess(one, volume), _assess(other, volume)
    if ours.keys() != theirs.keys():
        raise RuntimeError(f"{one.identity.name} scores other slices on the GPU than on the CPU")
    return max(abs(ours[key] - theirs[key]) for key in ours)


if __name__ == "__main__":
    run("gpu", "Inference on a GPU", measure, ("torch", "timm"), with_gpu=True)
