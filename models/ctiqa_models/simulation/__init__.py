"""The physics behind training and tests: a phantom, a projector, dose, distortions of CT and photographs, labels."""
