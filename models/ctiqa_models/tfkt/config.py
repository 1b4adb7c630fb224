"""What a TFKT network can be told about its shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Variant = Literal["v1", "v2"]
Size = Literal["large", "compact"]

MAP_SIDE = 64
"""Rows and columns of the map that the connector makes of the CNN's features."""


@dataclass(frozen=True, slots=True)
class SwinShape:
    """A SwinV2: channels of the first stage, blocks and attention heads of each stage."""

    embed: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TfktConfig:
    """A TFKT network. `variant` "v1" has a plain SwinV2, "v2" Swin-KAT (a KAN beside the MLP of every block).

    `size` "large" is the papers' (EfficientNetV2-L, SwinV2-B), "compact" runs on two CPU cores. `freeze_cnn` keeps the
    CNN as phase 1 left it (the poster's "frozen F"). `drop_path` is the stochastic depth of the transformer, 0–1.
    """

    variant: Variant = "v1"
    size: Size = "compact"
    freeze_cnn: bool = False
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what no network can be built of."""
        if self.variant not in ("v1", "v2") or self.size not in ("large", "compact"):
            raise ValueError(f"TFKT comes as v1 or v2, large or compact; not as {self.variant!r}, {self.size!r}")
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"drop_path must be at least 0 and below 1: {self.drop_path}")

    @property
    def cnn(self) -> str:
        """The name of F in timm."""
        return "tf_efficientnetv2_l" if self.size == "large" else "tf_efficientnet_lite0"

    @property
    def connector_rank(self) -> int | None:
        """Width of the bottleneck of the connector; None where it is one full matrix, as in the papers."""
        return None if self.size == "large" else 128

    @property
    def swin(self) -> SwinShape:
        """The shape of S."""
        if self.size == "large":
            return SwinShape(128, (2, 2, 18, 2), (4, 8, 16, 32))
        return SwinShape(48, (2, 2, 4, 2), (3, 6, 12, 24))
