"""Swin-KAT: every block of a SwinV2 gets a Kolmogorov–Arnold network beside its MLP (TFKT V2)."""

from __future__ import annotations

import torch
from timm.models.swin_transformer_v2 import SwinTransformerV2, SwinTransformerV2Block
from torch import nn
from torch.nn import functional

BASES = 5
"""Radial basis functions to each edge of the KAN: its cost is then near that of the MLP beside it."""
_REACH = 2.0
_INITIAL_DEVIATION = 0.02  # as SwinV2's own matrices begin


class RbfKan(nn.Module):
    """One KAN layer [..., channels] → [..., channels]: a learnt function on every edge, summed at every node.

    Kolmogorov–Arnold networks (arXiv 2404.19756, equation 2.10: a SiLU and a spline on each edge) with Gaussian radial
    basis functions for the B-splines and a layer norm that keeps the input on their grid (FastKAN, arXiv 2405.06721).
    """

    centres: torch.Tensor

    def __init__(self, channels: int, bases: int = BASES) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.base = nn.Linear(channels, channels)
        self.edges = nn.Linear(channels * bases, channels, bias=False)
        self.register_buffer("centres", torch.linspace(-_REACH, _REACH, bases))
        self._width = 2 * _REACH / (bases - 1)
        for matrix in (self.base.weight, self.edges.weight):
            nn.init.trunc_normal_(matrix, std=_INITIAL_DEVIATION)
        nn.init.zeros_(self.base.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's answer to tokens of any number and order."""
        distance = (self.norm(x).unsqueeze(-1) - self.centres) / self._width
        curves: torch.Tensor = self.edges(torch.exp(-(distance**2)).flatten(-2))
        straight: torch.Tensor = self.base(functional.silu(x))
        return straight + curves


class MlpKan(nn.Module):
    """A block's MLP and a KAN side by side, each looking at the other: what takes the MLP's place in Swin-KAT.

    Tokens [z, n, channels] → the same shape. Both branches see the tokens; cross-attention with the MLP's answer as
    query and the KAN's as key and value, and the other way round, are summed (readme and code of TFKT V2: no
    projections, one head, all tokens of the map). The dot products are divided by √channels (Vaswani et al. 2017).
    """

    def __init__(self, mlp: nn.Module, channels: int) -> None:
        super().__init__()
        self.mlp = mlp
        self.kan = RbfKan(channels)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Both branches, joined."""
        mlp, kan = self.mlp(tokens), self.kan(tokens)
        asked_by_mlp = functional.scaled_dot_product_attention(mlp, kan, kan)
        asked_by_kan = functional.scaled_dot_product_attention(kan, mlp, mlp)
        return asked_by_mlp + asked_by_kan


def add_kan(swin: SwinTransformerV2) -> None:
    """Turn a SwinV2 of timm into Swin-KAT; the MLPs that it has stay, as one of the two branches."""
    for block in swin.modules():
        if isinstance(block, SwinTransformerV2Block):
            block.add_module("mlp", MlpKan(block.mlp, block.dim))
