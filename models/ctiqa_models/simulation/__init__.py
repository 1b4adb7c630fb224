"""The physics behind training and tests: projector, dose, and a phantom to scan."""
