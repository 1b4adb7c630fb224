"""Checkpoints as the public code would write them, with random weights, and its forward paths as they are described."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torchvision.models import efficientnet_v2_l, swin_v2_b

Weights = dict[str, torch.Tensor]


def tfkt_backbones() -> tuple[nn.Module, nn.Module]:
    """EfficientNetV2-L and SwinV2-B of torchvision, adapted to one channel, 4096 outputs and one; evaluation mode."""
    torch.manual_seed(1)
    cnn = efficientnet_v2_l()
    cnn.features[0][0] = nn.Conv2d(1, 32, 3, stride=2, padding=1, bias=False)
    cnn.classifier[1] = nn.Linear(1280, 4096)
    swin = swin_v2_b()
    swin.features[0][0] = nn.Conv2d(1, 128, 4, stride=4)
    swin.head = nn.Linear(1024, 1)
    with torch.no_grad():
        for bias in (p for name, p in [*cnn.named_parameters(), *swin.named_parameters()] if name.endswith("bias")):
            bias.normal_(0, 0.1)  # they begin at 0, where a forgotten one would not be missed
        cnn.classifier[1].weight.mul_(10)  # random features differ little from picture to picture
    _settle(cnn)
    return cnn.eval(), swin.eval()


@torch.no_grad()
def _settle(cnn: nn.Module) -> None:
    """Give batch normalisation the statistics of some pictures; else every picture comes out of the CNN alike."""
    for module in cnn.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    cnn.train()(torch.rand(4, 1, 160, 160) ** torch.tensor([0.3, 1, 3, 9])[:, None, None, None])


def tfkt_checkpoint(cnn: nn.Module, swin: nn.Module, prefix: str = "") -> Weights:
    """The two backbones under the public names."""
    parts = {"effnetv2l": cnn, "swinv2b": swin}
    return {f"{prefix}{part}.{name}": t for part, module in parts.items() for name, t in module.state_dict().items()}


@torch.inference_mode()
def tfkt_forward(cnn: nn.Module, swin: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Image → EfficientNetV2-L with 4096 outputs → 1×64×64 → SwinV2-B → 1, as [z]."""
    return swin(cnn(image).view(len(image), 1, 64, 64)).squeeze(1)


N2Q_SHAPES = {
    "dconv_down1": (1, 16),
    "dconv_down2": (16, 32),
    "dconv_down3": (32, 64),
    "dconv_down4": (64, 128),
    "dconv_down5": (128, 256),
    "dconv_up4": (384, 128),
    "dconv_up3": (192, 64),
    "dconv_up2": (96, 32),
    "dconv_up1": (48, 16),
}


def n2q_checkpoint(with_dose: bool = True) -> Weights:
    """Random weights under the notebook's names."""
    generator = torch.Generator().manual_seed(2)
    found: Weights = {}
    for block, (before, after) in N2Q_SHAPES.items():
        for index, width in ((0, before), (3, after)):
            found[f"{block}.{index}.weight"] = torch.randn(after, width, 3, 3, generator=generator) / (3 * width**0.5)
            found[f"{block}.{index}.bias"] = torch.randn(after, generator=generator)
    found["conv_last.weight"] = 0.3 * torch.randn(1, 16, 1, 1, generator=generator)
    found["conv_last.bias"] = torch.randn(1, generator=generator)
    if with_dose:
        found["fc.weight"] = torch.randn(5, 256, generator=generator)
        found["fc.bias"] = torch.randn(5, generator=generator)
    return found


def n2q_forward(weights: Weights, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The notebook's U-Net, written with functions: the map and the logits of the dose branch."""

    def block(name: str, x: torch.Tensor) -> torch.Tensor:
        for index in (0, 3):
            x = functional.conv2d(x, weights[f"{name}.{index}.weight"], weights[f"{name}.{index}.bias"], padding=1)
            x = functional.leaky_relu(functional.instance_norm(x), 0.2)
        return x

    levels = [block("dconv_down1", image)]
    for depth in range(2, 6):
        levels.append(block(f"dconv_down{depth}", functional.max_pool2d(levels[-1], 2)))
    pooled = functional.max_pool2d(levels[-1], 2).mean(dim=(2, 3))
    x = levels[4]
    for depth in range(4, 0, -1):
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        x = block(f"dconv_up{depth}", torch.cat([x, levels[depth - 1]], dim=1))
    painted = torch.tanh(functional.conv2d(x, weights["conv_last.weight"], weights["conv_last.bias"]))
    return painted, functional.linear(pooled, weights["fc.weight"], weights["fc.bias"])
