"""Every model and measure that ships, with weights and licence, or that a site can install; and how to make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ctiqa_models.api import Assessor
from ctiqa_models.weights import WeightsFile

N2Q_WEIGHTS = WeightsFile(
    path=Path(__file__).parent / "n2q" / "weights" / "n2q.safetensors",
    sha256="d69ee7d8a3cfba67f65c1b6e61a81ef051df3b5bd1049a8b2c84d409cd33c707",
)
"""Apache-2.0; what they were trained on, and its licences, is told in n2q/CARD.md."""

# torch and OpenCV take seconds to import: a maker imports them when its assessor is asked for, and not before.


def _snr(_device: str, _folder: Path | None) -> Assessor:
    from ctiqa_models.classical import Snr

    return Snr()


def _brisque(_device: str, _folder: Path | None) -> Assessor:
    from ctiqa_models.classical import Brisque

    return Brisque()


def _noise_level(_device: str, _folder: Path | None) -> Assessor:
    from ctiqa_models.classical import NoiseLevel

    return NoiseLevel()


def _n2q(device: str, _folder: Path | None) -> Assessor:
    from ctiqa_models.n2q.assess import N2q

    return N2q(N2Q_WEIGHTS, device)


def _tfkt(device: str, folder: Path | None) -> Assessor:
    from ctiqa_models.tfkt.release import load_tfkt

    return load_tfkt(folder, device)


def _n2q_imported(device: str, folder: Path | None) -> Assessor:
    from ctiqa_models.n2q.public import load_n2q

    return load_n2q(folder, device)


_Maker = Callable[[str, Path | None], Assessor]

_SHIPPED: dict[str, _Maker] = {"snr": _snr, "brisque": _brisque, "noise_level": _noise_level, "n2q": _n2q}
_INSTALLABLE: dict[str, _Maker] = {"tfkt": _tfkt, "n2q_imported": _n2q_imported}

NAMES: tuple[str, ...] = tuple(_SHIPPED)
"""What ships and can always be asked for, in the order in which results are shown. Reading it imports no model."""

INSTALLABLE: tuple[str, ...] = tuple(_INSTALLABLE)
"""What can be asked for once a site has installed weights for it."""


def assessors(device: str = "auto", names: Sequence[str] | None = None, folder: Path | None = None) -> list[Assessor]:
    """Make the assessors of these names (None: all that ship), with their weights loaded and checked.

    `device` is "auto" (a GPU when there is one), "cpu" or "cuda"; `folder` is where the site's own weights lie. Raises
    ValueError for a name that is not in the catalog, and WeightsError for weights that are missing, or not those that
    were released or installed.
    """
    makers = {**_SHIPPED, **_INSTALLABLE}
    wanted = NAMES if names is None else tuple(names)
    unknown = [name for name in wanted if name not in makers]
    if unknown:
        raise ValueError(f"no such model: {', '.join(unknown)}. There are: {', '.join(makers)}.")
    return [makers[name](device, folder) for name in wanted]
