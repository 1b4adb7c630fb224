"""What the TFKT poster published for setting A of LDCTIQAC 2023 (800 slices train, 200 test), on radiologists' scores.

Rifa et al., SPIE Medical Imaging 2025, results table. The PLCC of DBCNN is not legible there; it is the sum less the
other two.
"""

from __future__ import annotations

from ctiqa_models.evaluation.figures import Figure
from ctiqa_models.evaluation.table import Row

_FIGURES = (
    ("DBCNN", 0.9713, 0.9734, 0.8808, 2.8255),
    ("MD-IQA", 0.9771, 0.9793, 0.9106, 2.8670),
    ("MANIQA", 0.9768, 0.9786, 0.8891, 2.8445),
    ("SSIQA", 0.9569, 0.9741, 0.8772, 2.8082),
    ("EfficientNetV2-L", 0.9767, 0.9784, 0.8905, 2.8456),
    ("TFKT, frozen F", 0.9724, 0.9757, 0.8852, 2.8332),
    ("TFKT, no pre-training", 0.9809, 0.9840, 0.9097, 2.8745),
    ("TFKT", 0.9842, 0.9846, 0.9126, 2.8814),
)

POSTER = tuple(Row(name, tuple(Figure(value) for value in values), "paper") for name, *values in _FIGURES)
"""Rows of PLCC, SRCC, KRCC and their sum."""
