"""Noise2Quality: a map of image quality for every slice, and a dose class, after the N2Q poster."""
