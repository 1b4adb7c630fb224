"""Inference: every model as the node runs it, against the same network as the public notebooks run it.

The reference way is eager torch in float32, one slice at a time, without gates and without the flipped copies that tell
an uncertainty. The series is a simulated trunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from bench.figures import Line, at_least, at_most, compared, counted, not_measured
from bench.running import Options, run
from bench.timing import alternate, say
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ctiqa_models import catalog
from ctiqa_models.api import Assessment, Assessor, FloatArray, HuVolume, Status
from ctiqa_models.compiled import compile_network
from ctiqa_models.n2q import preprocess as n2q_preprocess
from ctiqa_models.n2q.network import quality_from_map
from ctiqa_models.n2q.preprocess import to_matrix
from ctiqa_models.n2q.release import read_release as read_n2q
from ctiqa_models.simulation.series import Scan, simulate_series
from ctiqa_models.tfkt.config import TfktConfig
from ctiqa_models.tfkt.network import TfktNetwork
from ctiqa_models.tfkt.preprocess import network_input
from ctiqa_models.tfkt.release import read_release as read_tfkt

SLICES, DRAWN, SIDE = 300, 12, 512
SAMPLE = 30
"""Slices for the slow ways; their rates do not hang on the number."""
MATRIX = 2048
CPU = torch.device("cpu")


def _series(options: Options) -> HuVolume:
    """300 slices, some of them drawn and the rest the same again, from an earlier run where there is one."""
    kept = options.scratch / f"trunk-{DRAWN}-{SIDE}.npz"
    if not kept.exists():
        say(f"drawing {DRAWN} slices")
        drawn = simulate_series(seed=11, slices=DRAWN, size=SIDE, scan=Scan(0.5))
        np.savez(kept, hu=drawn.hu, spacing_mm=drawn.spacing_mm)
    with np.load(kept) as file:
        hu, (_, row_mm, column_mm) = file["hu"], file["spacing_mm"]
    return HuVolume(hu[np.arange(SLICES) % DRAWN], (1.0, float(row_mm), float(column_mm)))


def _assess(assessor: Assessor, volume: HuVolume) -> Assessment:
    """Assess a volume that nobody has looked at."""
    found = assessor.assess(HuVolume(volume.hu, volume.spacing_mm), lambda _share: None)
    if found.status is not Status.SCORED:
        raise RuntimeError(f"{found.identity.name} does not score the series of the benchmark: {found.reason}")
    return found


@torch.inference_mode()
def _tfkt_by_the_book(network: TfktNetwork, hu: FloatArray) -> FloatArray:
    scores = [network(network_input(torch.from_numpy(one)[None])) for one in hu]
    return torch.cat(scores).clamp(0, 4).numpy()


@torch.inference_mode()
def _n2q_by_the_book(network: nn.Module, channels: int, hu: FloatArray) -> FloatArray:
    maps = []
    for one in hu:
        painted, _ = network(n2q_preprocess.network_input(to_matrix(torch.from_numpy(one)[None]), channels))
        maps.append(quality_from_map(painted)[0, 0])
    return torch.stack(maps).numpy()


def _gigaflops(network: nn.Module, *shape: int) -> float:
    """Floating point operations of one image, in 10⁹, counted by torch (convolutions and matrix products)."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, *shape))
    return float(counter.get_total_flops()) / 1e9


@dataclass(frozen=True, slots=True)
class _Networks:
    tfkt: TfktNetwork
    n2q: nn.Module
    channels: int


def measure(options: Options) -> tuple[Sequence[Line], Sequence[str]]:
    """All models on the CPU; the GPU has a script of its own."""
    volume = _series(options)
    n2q = read_n2q(catalog.N2Q_WEIGHTS)
    networks = _Networks(read_tfkt(catalog.TFKT_WEIGHTS).network.eval(), n2q.network.eval(), n2q.recipe.row.channels)
    assessors = {one.identity.name: one for one in catalog.assessors("cpu")}
    lines = [*_per_slice(volume, networks, assessors, options), *_per_volume(volume, assessors, options)]
    lines += _same_numbers(volume, networks, assessors)
    lines += _large(options)
    lines += [
        not_measured(
            "TFKT large, bfloat16, 512×512", "no GPU; `python benchmarks/measure_gpu.py`", at_least(1000, "value")
        ),
        not_measured(
            "N2Q over a series of 300 slices", "no GPU; `python benchmarks/measure_gpu.py`", at_most(0.3, "value")
        ),
    ]
    notes = (
        f"{torch.get_num_threads()} threads. The series has {SLICES} slices of {SIDE}×{SIDE}; the reference ways and "
        f"networks alone saw {SAMPLE} of them.",
        "A model as the node runs it does more than its network: it looks for a body and a trunk in every slice, and "
        "judges up to eight slices three times more, flipped and turned, for the uncertainty.",
    )
    return lines, notes


def _per_slice(volume: HuVolume, networks: _Networks, assessors: dict[str, Assessor], options: Options) -> list[Line]:
    some = volume.hu[:SAMPLE]
    matrix = torch.rand(MATRIX, MATRIX)
    cases: dict[str, Callable[[], object]] = {
        "tfkt": lambda: _assess(assessors["tfkt"], volume),
        "tfkt by the book": lambda: _tfkt_by_the_book(networks.tfkt, some),
        "n2q": lambda: _assess(assessors["n2q"], volume),
        "n2q by the book": lambda: _n2q_by_the_book(networks.n2q, networks.channels, some),
        "noise_level": lambda: _assess(assessors["noise_level"], volume),
        "product": lambda: [matrix @ matrix for _ in range(20)],
    }
    took = alternate(cases, options.rounds)
    by_the_book = compared("TFKT, the reference way", took["tfkt by the book"].per_second(SAMPLE, "slices/s"))
    n2q_by_the_book = compared("N2Q, the reference way", took["n2q by the book"].per_second(SAMPLE, "slices/s"))
    product = took["product"].per_second(20 * 2 * MATRIX**3 / 1e9, "GFLOP/s")
    peak = compared(f"a matrix product, {MATRIX}×{MATRIX}, float32", product)
    lines = [peak, by_the_book, n2q_by_the_book]
    for name, book, shape in (("tfkt", by_the_book, (1, 512, 512)), ("n2q", n2q_by_the_book, (2, 256, 256))):
        rate = took[name].per_second(SLICES, "slices/s")
        target = at_least(40, "value") if name == "tfkt" else None
        lines.append(compared(f"{name} as the node runs it", rate, None, target))
        lines.append(
            compared(f"{name}, against the reference way", rate, book, at_least(3) if name == "tfkt" else None)
        )
        flops = _gigaflops(getattr(networks, name), *shape)
        used = took[name].per_second(flops * SLICES, "GFLOP/s")
        lines.append(
            compared(f"{name}: its network's {flops:.2f} GFLOP a slice", used, peak, note="share of the product")
        )
    rate = took["noise_level"].per_second(SLICES, "slices/s")
    return [*lines, compared("noise_level", rate)]


def _per_volume(volume: HuVolume, assessors: dict[str, Assessor], options: Options) -> list[Line]:
    """The paper of Chest CT-IQA tells 10 s for its network and 2–3 minutes for SNR and BRISQUE, a volume each."""
    took = alternate(
        {
            "chest": lambda: assessors["chest_ctiqa"].assess(volume, lambda _share: None),
            "measures": lambda: [_assess(assessors[name], volume) for name in ("snr", "brisque")],
        },
        options.rounds,
    )
    return [
        compared(f"Chest CT-IQA's network, a volume of {SLICES} slices", took["chest"], None, at_most(2, "value")),
        compared(f"SNR and BRISQUE, a volume of {SLICES} slices", took["measures"], None, at_most(10, "value")),
    ]


def _same_numbers(volume: HuVolume, networks: _Networks, assessors: dict[str, Assessor]) -> list[Line]:
    """How far the numbers of the fast way are from those of the reference way, over the slices that were drawn."""
    some = HuVolume(volume.hu[:DRAWN], volume.spacing_mm)
    tfkt, n2q = _assess(assessors["tfkt"], some), _assess(assessors["n2q"], some)
    scores = {m.slice_index: m.value for m in tfkt.measurements if m.name == "tfkt_score" and m.slice_index is not None}
    expected = _tfkt_by_the_book(networks.tfkt, some.hu)
    away = max(abs(score - float(expected[index])) for index, score in scores.items())
    assert n2q.maps is not None
    seen = [index for index in range(DRAWN) if index not in n2q.unscored_slices]
    maps = _n2q_by_the_book(networks.n2q, networks.channels, some.hu)[seen]
    # A map is kept in 255 steps: half a step is rounding, and not the network's.
    painted = np.abs(n2q.maps.values[seen] / 255 - maps).max() - 0.5 / 255
    return [
        counted("TFKT: largest difference of a score (0–4)", round(away, 7), "1", at_most(0.02, "value")),
        counted(
            "N2Q: largest difference in a map (0–1)", max(0.0, round(float(painted), 7)), "1", at_most(0.01, "value")
        ),
    ]


class _Scores(nn.Module):
    def __init__(self, network: TfktNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.network(images),)


def _large(options: Options) -> list[Line]:
    """The published size, with random numbers for weights: none ship."""
    torch.manual_seed(1)
    network = TfktNetwork(TfktConfig(size="large")).eval()
    images = torch.rand(2, 1, 512, 512)
    flops = _gigaflops(network, 1, 512, 512)
    eager = torch.inference_mode()(network)
    fast = compile_network(_Scores(network), (1, 512, 512), CPU)
    took = alternate(
        {"fast": lambda: fast(images), "eager": lambda: [eager(one[None]) for one in images]}, options.rounds
    )
    book = compared("TFKT large, network alone, the reference way", took["eager"].per_second(2, "slices/s"))
    note = f"{flops:.0f} GFLOP a slice"
    return [book, compared("TFKT large, network alone", took["fast"].per_second(2, "slices/s"), book, note=note)]


if __name__ == "__main__":
    run("inference", "Inference on the CPU", measure, ("torch", "openvino", "timm"))
