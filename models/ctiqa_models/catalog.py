"""Every model and measure that ships, with weights and licence, or that a site can install; and how to make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ctiqa_models.api import Assessor
from ctiqa_models.trained import site_weights, under_site_label
from ctiqa_models.weights import WeightsFile

N2Q_WEIGHTS = WeightsFile(
    path=Path(__file__).parent / "n2q" / "weights" / "n2q.safetensors",
    sha256="9c1ca9bfb9782c462ff63c2a73ef42d25147e82f55cad58511f6167cf919a985",
)
"""Apache-2.0; what they were trained on, and its licences, is told in n2q/CARD.md."""

TFKT_WEIGHTS = WeightsFile(
    path=Path(__file__).parent / "tfkt" / "weights" / "tfkt.safetensors",
    sha256="e04eab733366e9b1a94491dce58d1721a9b5e5457f9c64790ce98b803379bb5f",
)
"""Apache-2.0; what they were trained on, and its licences, is told in tfkt/CARD.md."""

CHEST_CTIQA_WEIGHTS = WeightsFile(
    path=Path(__file__).parent / "chest_ctiqa" / "weights" / "chest_ctiqa.safetensors",
    sha256="5fc3110142348c96955bf84699b3e234aeeb4a45fa059b94c3fb5914dfaf4823",
)
"""Apache-2.0; what they were trained on, and its licences, is told in chest_ctiqa/CARD.md."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """How an assessor is wanted: see `assessors`."""

    device: str
    folder: Path | None
    batch: int | None


# torch and OpenCV take seconds to import: a maker imports them when its assessor is asked for, and not before.


def _snr(_wish: _Wish) -> Assessor:
    from ctiqa_models.classical import Snr

    return Snr()


def _brisque(_wish: _Wish) -> Assessor:
    from ctiqa_models.classical import Brisque

    return Brisque()


def _noise_level(_wish: _Wish) -> Assessor:
    from ctiqa_models.classical import NoiseLevel

    return NoiseLevel()


def _n2q(wish: _Wish) -> Assessor:
    from ctiqa_models.n2q.assess import N2q

    return N2q(site_weights(wish.folder, "n2q") or N2Q_WEIGHTS, wish.device, wish.batch)


def _chest_ctiqa(wish: _Wish) -> Assessor:
    from ctiqa_models.chest_ctiqa.assess import ChestCtiqa
    from ctiqa_models.chest_ctiqa.fit import load_fit

    return ChestCtiqa(
        site_weights(wish.folder, "chest_ctiqa") or CHEST_CTIQA_WEIGHTS, load_fit(wish.folder), wish.device
    )


def _tfkt(wish: _Wish) -> Assessor:
    from ctiqa_models.tfkt.release import shipped_tfkt

    return shipped_tfkt(site_weights(wish.folder, "tfkt") or TFKT_WEIGHTS, wish.device, wish.batch)


def _tfkt_imported(wish: _Wish) -> Assessor:
    from ctiqa_models.tfkt.release import imported_tfkt

    return imported_tfkt(wish.folder, wish.device, wish.batch)


def _n2q_imported(wish: _Wish) -> Assessor:
    from ctiqa_models.n2q.public import load_n2q

    return load_n2q(wish.folder, wish.device, wish.batch)


_Maker = Callable[[_Wish], Assessor]

_SHIPPED: dict[str, _Maker] = {
    "tfkt": _tfkt,
    "chest_ctiqa": _chest_ctiqa,
    "n2q": _n2q,
    "noise_level": _noise_level,
    "snr": _snr,
    "brisque": _brisque,
}
_INSTALLABLE: dict[str, _Maker] = {"tfkt_imported": _tfkt_imported, "n2q_imported": _n2q_imported}

NAMES: tuple[str, ...] = tuple(_SHIPPED)
"""What ships and can always be asked for, in the order in which results are shown. Reading it imports no model."""

INSTALLABLE: tuple[str, ...] = tuple(_INSTALLABLE)
"""What can be asked for once a site has installed weights for it."""

TRAINABLE: tuple[str, ...] = ("tfkt", "chest_ctiqa", "n2q")
"""What a site can train itself; weights that it installed are used in place of those that ship."""


def assessors(
    device: str = "auto", names: Sequence[str] | None = None, folder: Path | None = None, batch: int | None = None
) -> list[Assessor]:
    """Make the assessors of these names (None: all that ship), with their weights loaded and checked.

    `device` is "auto" (a GPU when there is one), "cpu" or "cuda"; `folder` is where the site's own weights lie; `batch`
    is how many slices may be looked at together (None: what suits the device), halved when memory runs out. Raises
    ValueError for a name that is not in the catalog, and WeightsError for weights that are missing, or not those that
    were released or installed.
    """
    makers = {**_SHIPPED, **_INSTALLABLE}
    wanted = NAMES if names is None else tuple(names)
    unknown = [name for name in wanted if name not in makers]
    if unknown:
        raise ValueError(f"no such model: {', '.join(unknown)}. There are: {', '.join(makers)}.")
    wish = _Wish(device, folder, batch)
    return [under_site_label(makers[name](wish), folder) for name in wanted]
