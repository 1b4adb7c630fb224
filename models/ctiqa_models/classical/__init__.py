"""Image quality measures that need no training of ours: signal-to-noise ratio, BRISQUE, global noise level."""

from ctiqa_models.classical.brisque import Brisque
from ctiqa_models.classical.noise_level import NoiseLevel
from ctiqa_models.classical.snr import Snr

__all__ = ["Brisque", "NoiseLevel", "Snr"]
