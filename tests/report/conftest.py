"""Volumes and reports made by hand: an elliptic body in air, and values that a model could have given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from ctiqa_node.ct.volume import CtVolume, Finding, Geometry, SliceSource
from ctiqa_node.report.content import (
    DeviceInfo,
    Report,
    ReportedClassification,
    ReportedMeasurement,
    ReportedModel,
    ReportStatus,
)
from ctiqa_node.report.verdicts import NotScoredReason

SIDE = 96
STUDY, SERIES = "1.2.826.0.1.3680043.10.99.1", "1.2.826.0.1.3680043.10.99.1.1"


def full_header() -> Dataset:
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.PatientName = "Müller^Jürgen"
    header.PatientID = "P-1"
    header.PatientBirthDate = "19500131"
    header.PatientSex = "M"
    header.StudyInstanceUID = STUDY
    header.SeriesInstanceUID = SERIES
    header.StudyDate = "20260102"
    header.StudyTime = "101112"
    header.StudyID = "S1"
    header.AccessionNumber = "ACC-1"
    header.ReferringPhysicianName = "Doe^Jane"
    header.FrameOfReferenceUID = "1.2.826.0.1.3680043.10.99.1.9"
    header.SeriesNumber = 4
    header.SeriesDescription = "Thorax"
    header.Manufacturer = "ACME"
    header.ManufacturerModelName = "Scan"
    header.ConvolutionKernel = "B31f"
    header.KVP = 100
    header.XRayTubeCurrent = 80
    header.SliceThickness = 2
    return header


def body() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = ((x - 48) / 40) ** 2 + ((y - 48) / 28) ** 2 < 1
    return np.where(inside, 40.0, -1000.0).astype(np.float32)


def volume_of(
    slices: int = 6, header: Dataset | None = None, *, enhanced: bool = False, findings: tuple[Finding, ...] = ()
) -> CtVolume:
    header = full_header() if header is None else header
    positions = np.column_stack([np.zeros(slices), np.zeros(slices), 3.0 * np.arange(slices)])
    axes = np.eye(3)
    sop_class = EnhancedCTImageStorage if enhanced else CTImageStorage
    sources = tuple(
        SliceSource(sop_class, f"{SERIES}.{1 if enhanced else z + 1}", z + 1, z + 1 if enhanced else None)
        for z in range(slices)
    )
    geometry = Geometry(axes[0], axes[1], axes[2], positions, (3.0, 0.7, 0.7))
    return CtVolume(np.repeat(body()[None], slices, axis=0), geometry, sources, (header,) * slices, findings)


def n2q(slices: int) -> ReportedModel:
    values = [0.9 - 0.01 * ((7 * z) % slices) for z in range(slices)]
    doses = {"5 %": 0.02, "10 %": 0.11, "25 %": 0.61, "50 %": 0.2, "75 %": 0.06}
    return ReportedModel(
        name="n2q",
        version="1.2.3",
        summary="Predicted similarity map.",
        trained_on="simulated dose levels of real slices",
        status=ReportStatus.SCORED,
        weights_sha256="ab" * 32,
        measurements=(
            ReportedMeasurement("n2q_quality", 0.8251, "1"),
            ReportedMeasurement("n2q_quality_spread", 0.031, "1"),
            *(ReportedMeasurement("n2q_quality", value, "1", z) for z, value in enumerate(values)),
        ),
        classifications=tuple(ReportedClassification("n2q_dose", label, p) for label, p in doses.items()),
        maps=np.full((slices, 24, 24), 128, dtype=np.uint8),
    )


def noise_level(slices: int) -> ReportedModel:
    return ReportedModel(
        name="noise_level",
        version="1.0.0",
        summary="Mode of local standard deviations.",
        trained_on="not trained",
        status=ReportStatus.SCORED,
        measurements=(
            ReportedMeasurement("noise_level", 14.25, "[hnsf'U]"),
            *(ReportedMeasurement("noise_level", 10.0 + z, "[hnsf'U]", z) for z in range(slices)),
        ),
    )


def not_scored(name: str = "brisque", reason: str = "the slices are too small") -> ReportedModel:
    return ReportedModel(
        name=name,
        version="2.0",
        summary="Natural scene statistics.",
        trained_on="LIVE",
        status=ReportStatus.NOT_SCORED,
        reason=reason,
        reason_code=NotScoredReason.TOO_LITTLE,
    )


def report_of(volume: CtVolume | None = None, models: tuple[ReportedModel, ...] | None = None) -> Report:
    volume = volume_of() if volume is None else volume
    slices = len(volume.sources)
    return Report(
        volume=volume,
        models=(n2q(slices), noise_level(slices), not_scored()) if models is None else models,
        revision=1,
        device=DeviceInfo("CTIQA", "0.1.0", "node-1"),
        assessed_at=datetime(2026, 1, 3, 4, 5, 6, tzinfo=UTC),
    )


@pytest.fixture
def report() -> Report:
    return report_of()


@pytest.fixture
def make_volume() -> Callable[..., CtVolume]:
    return volume_of


@pytest.fixture
def make_report() -> Callable[..., Report]:
    return report_of


@pytest.fixture
def make_header() -> Callable[[], Dataset]:
    return full_header


@pytest.fixture
def unscored_report() -> Report:
    return replace(report_of(), models=(not_scored("n2q", "too few slices"), not_scored()))
