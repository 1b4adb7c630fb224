"""Tiny rated data sets in the true formats of KADID-10k and LDCTIQAC 2023."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_kadid(folder: Path, references: int = 2, distortions: int = 2, levels: int = 5, size: int = 32) -> Path:
    """images/I01.png …, images/I01_01_01.png … and dmos.csv, as unpacked; the score falls with the level."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    lines = ["dist_img,ref_img,dmos,var"]
    for reference in range(1, references + 1):
        pristine = generator.integers(60, 190, (size, size, 3))
        Image.fromarray(pristine.astype(np.uint8)).save(folder / "images" / f"I{reference:02d}.png")
        for distortion in range(1, distortions + 1):
            for level in range(1, levels + 1):
                name = f"I{reference:02d}_{distortion:02d}_{level:02d}.png"
                noisy = np.clip(pristine + generator.normal(0, 12 * level, pristine.shape), 0, 255)
                Image.fromarray(noisy.astype(np.uint8)).save(folder / "images" / name)
                lines.append(f"{name},I{reference:02d}.png,{5 - 0.8 * (level - 1):.2f},0.{level}3")
    (folder / "dmos.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_ldctiqac(folder: Path, slices: int = 10) -> Path:
    """image/0000.tif … (float32 512×512 in 0–1, noisier towards the lower scores) and train.json."""
    generator = np.random.default_rng(0)
    (folder / "image").mkdir(parents=True)
    scores = {}
    body = np.full((512, 512), 0.02, dtype=np.float32)
    body[100:400, 60:450] = 0.72
    for index in range(slices):
        score = round(4.0 * index / max(slices - 1, 1), 1)
        noisy = np.clip(body + generator.normal(0, 0.02 * (4.2 - score), body.shape), 0, 1).astype(np.float32)
        Image.fromarray(noisy).save(folder / "image" / f"{index:04d}.tif")
        scores[f"{index:04d}.tif"] = score
    (folder / "train.json").write_text(json.dumps(scores), encoding="utf-8")
    return folder
