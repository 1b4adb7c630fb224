"""Chest CT-IQA (Xun et al.): window, exposure, SNR, BRISQUE and a score of 1–10 for a chest series."""
