"""From a CtVolume to assessments: the worker's door to the models (`laboratory.py` is the data scientist's)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ctiqa_models import catalog
from ctiqa_models.api import Assessment, Assessor, HuVolume, ModelIdentity, Progress, ReasonCode
from ctiqa_models.installed import Installed, find, remove, weights_path
from ctiqa_models.memory import OutOfMemory, memory_errors
from ctiqa_models.weights import NotInstalledError, WeightsError, WeightsFile, sha256_of
from ctiqa_node.ct.volume import CtVolume
from ctiqa_node.errors import ConfigError, Rejected, RetryLater
from ctiqa_node.logs import get_logger
from ctiqa_node.report.content import (
    ReportedClassification,
    ReportedMeasurement,
    ReportedModel,
    ReportStatus,
)
from ctiqa_node.report.verdicts import NotScoredReason

log = get_logger(__name__)

GOLDEN_SEED, GOLDEN_SLICES, GOLDEN_SIZE, GOLDEN_DOSE = 7, 5, 448, 0.25
"""Enough for every model: fewer slices or rows some would not score."""


@dataclass(frozen=True, slots=True)
class Assessed:
    """What one model said, and how long it took."""

    model: ReportedModel
    seconds: float


class Analyst:
    """The models, loaded once. `device` is auto, cpu or cuda; `threads` the CPU threads, 0 for one for each core.

    `names` None means all that ship; `models` is the folder of the weights that the site imported.
    """

    def __init__(self, device: str, names: Sequence[str] | None, threads: int = 0, models: Path | None = None) -> None:
        import torch  # seconds, which the commands that only name the models need not wait for

        if threads:
            torch.set_num_threads(threads)
        self.device = _usable_device(device)
        self._models = models
        self._names = catalog.NAMES if names is None else tuple(names)
        self._assessors = [_load(name, self.device, models) for name in self._names]

    @property
    def device_name(self) -> str:
        """The device in words, with the name of the GPU."""
        import torch

        if self.device == "cuda":
            return f"GPU: {torch.cuda.get_device_name()} (torch {torch.__version__}, CUDA {torch.version.cuda})"
        return f"CPU, {torch.get_num_threads()} threads (torch {torch.__version__})"

    def assess(self, volume: CtVolume, progress: Callable[[float], None], attempt: int = 1) -> list[Assessed]:
        """Let every model assess the volume; `progress` gets the share done, 0–1.

        An attempt after the first asks for little memory, as the earlier one may have died of asking for too much: one
        slice at a time, and from the third on the CPU.

        Raises:
            RetryLater: memory does not suffice for one slice, neither on the GPU, if there is one, nor on the CPU.
        """
        hu = HuVolume(hu=volume.hu, spacing_mm=volume.geometry.spacing_mm)
        if attempt == 1:
            return self._assess(hu, progress, self._assessors)
        device = self.device if attempt == 2 else "cpu"
        log.info("assessing with little memory", attempt=attempt, device=device)
        return self._assess(hu, progress, [_load(name, device, self._models, 1) for name in self._names])

    def assess_golden(self) -> list[ReportedModel]:
        """What the models say of the golden series: a simulated scan, the same on every machine."""
        from ctiqa_models.simulation.series import Scan, simulate_series

        volume = simulate_series(seed=GOLDEN_SEED, slices=GOLDEN_SLICES, size=GOLDEN_SIZE, scan=Scan(GOLDEN_DOSE))
        return [assessed.model for assessed in self._assess(volume, lambda _share: None, self._assessors)]

    def _assess(
        self, volume: HuVolume, progress: Callable[[float], None], assessors: Sequence[Assessor]
    ) -> list[Assessed]:
        count = len(assessors)
        return [
            self._by_one(name, assessor, volume, _part(progress, index, count))
            for index, (name, assessor) in enumerate(zip(self._names, assessors, strict=True))
        ]

    def _by_one(self, name: str, assessor: Assessor, volume: HuVolume, progress: Callable[[float], None]) -> Assessed:
        try:
            return _timed(assessor, volume, progress)
        except OutOfMemory as error:
            if self.device == "cpu":
                raise _too_little_memory(name) from error
            log.warning("the GPU has too little memory; the CPU goes on", model=name, error=str(error))
        try:
            return _timed(_load(name, "cpu", self._models, 1), volume, progress)
        except OutOfMemory as error:
            raise _too_little_memory(name) from error


def require_known(names: Sequence[str] | None) -> None:
    """Make sure that the catalog has every name of `worker.assessors`; None asks for all that ship.

    Raises:
        ConfigError: it has not; names what there is.
    """
    there_are = _in_catalog()
    unknown = [name for name in names or () if name not in there_are]
    if unknown:
        raise ConfigError(f"worker.assessors: no such model: {', '.join(unknown)}. There are: {', '.join(there_are)}.")


@dataclass(frozen=True, slots=True)
class WeightsInUse:
    """The weights file that a model would use: its SHA-256 (None: it needs none), whose it is, and what is wrong."""

    model: str
    sha256: str | None
    origin: str
    trouble: str | None = None


def weights_in_use(names: Sequence[str] | None, models: Path) -> list[WeightsInUse]:
    """The weights of these models (None: all that ship), with their SHA-256 counted now; no model is loaded."""
    return [_weights_in_use(name, models) for name in (catalog.NAMES if names is None else names)]


def _weights_in_use(name: str, models: Path) -> WeightsInUse:
    shipped = {"n2q": catalog.N2Q_WEIGHTS, "tfkt": catalog.TFKT_WEIGHTS, "chest_ctiqa": catalog.CHEST_CTIQA_WEIGHTS}
    try:
        installed = find(models, name)
        file = shipped.get(name)
        if installed is not None:
            file = WeightsFile(weights_path(models, name), installed.sha256, "installed")
        if file is None:
            missing = name in catalog.INSTALLABLE
            return WeightsInUse(name, None, "", f"{name}: no weights are imported for it" if missing else None)
        if (found := sha256_of(file.path)) != file.sha256:
            return WeightsInUse(name, found, file.origin, f"{name}: {file.path} is not the file that was {file.origin}")
    except WeightsError as error:
        return WeightsInUse(name, None, "", str(error))
    except OSError as error:
        return WeightsInUse(name, None, "", f"{name}: its weights cannot be read: {error.strerror}")
    return WeightsInUse(name, file.sha256, "shipped" if installed is None else "the site's own")


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """Weights that the site imported or trained for one model of the catalog."""

    model: str
    label: str
    architecture: str
    source_file: str
    source_sha256: str
    installed_at: str
    sha256: str
    trained_on: str


def import_model(file: Path, kind: str, models: Path, at: datetime, label: str | None) -> InstalledModel:
    """Import a public checkpoint (`kind`: tfkt-v2 or n2q) into the folder `models`.

    Raises:
        Rejected: the file cannot be read safely, or is not a checkpoint of this kind.
        OSError: the file cannot be opened, or the weights cannot be written.
    """
    from ctiqa_models.importing import KINDS, import_checkpoint  # torchvision and timm: seconds, and only here

    try:
        return _installed_model(import_checkpoint(file, KINDS[kind], models, at, label))
    except WeightsError as error:
        raise Rejected(str(error)) from error


def install_trained(file: Path, models: Path, at: datetime, label: str | None) -> InstalledModel:
    """Install weights that `train` wrote into the folder `models`, in place of those that ship.

    Raises:
        Rejected: the file is no such weights, or they cannot be used.
        OSError: the file cannot be opened, or the weights cannot be written.
    """
    from ctiqa_models.adopting import adopt

    try:
        return _installed_model(adopt(file, models, at, label))
    except WeightsError as error:
        raise Rejected(str(error)) from error


def remove_model(models: Path, name: str) -> bool:
    """Take away what the site installed for a model; whether one that ships is used from now on.

    Raises:
        Rejected: nothing is installed for it.
        OSError: it cannot be removed.
    """
    if name not in _in_catalog() or not remove(models, name):
        raise Rejected(f"Nothing is installed for {name!r}; `ctiqa-node model ls` lists what is.")
    return name in catalog.NAMES


def _in_catalog() -> tuple[str, ...]:
    return tuple(dict.fromkeys((*catalog.NAMES, *catalog.INSTALLABLE)))


def installed_models(models: Path) -> list[InstalledModel]:
    """What the site has installed, in the order of the catalog.

    Raises:
        Rejected: a record in the folder cannot be read.
    """
    try:
        found = [find(models, name) for name in _in_catalog()]
    except WeightsError as error:
        raise Rejected(str(error)) from error
    return [_installed_model(one) for one in found if one is not None]


def _installed_model(installed: Installed) -> InstalledModel:
    source = installed.provenance
    return InstalledModel(
        model=installed.model,
        label=source.label,
        architecture=source.architecture,
        source_file=source.source_file,
        source_sha256=source.source_sha256,
        installed_at=source.installed_at,
        sha256=installed.sha256,
        trained_on=source.trained_on,
    )


class _Unavailable:
    """Stands in for a model whose weights could not be used, so that its absence is reported and the others go on."""

    def __init__(self, name: str, reason: str) -> None:
        self._reason = reason
        self.identity = ModelIdentity(name=name, version="unavailable", summary=reason, trained_on="unknown")

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        """Say why there is no number."""
        del volume, progress
        return Assessment.not_scored(self.identity, ReasonCode.NO_WEIGHTS, self._reason)


def _usable_device(asked: str) -> str:
    """The device that the models run on: a GPU where there is one, unless the CPU was asked for."""
    import torch

    has_gpu = torch.cuda.is_available()
    if asked == "cuda" and not has_gpu:
        log.error("worker.device is cuda, but no GPU can be used; the CPU is used instead")
    return "cuda" if has_gpu and asked != "cpu" else "cpu"


def _load(name: str, device: str, models: Path | None, batch: int | None = None) -> Assessor:
    try:
        return catalog.assessors(device, [name], models, batch)[0]
    except NotInstalledError as error:
        log.error("model not available", model=name, reason=str(error))
        return _Unavailable(name, str(error))
    except WeightsError as error:
        log.error("model not available", model=name, reason=str(error))
        # The report goes to an archive, which need not know this machine's paths.
        return _Unavailable(name, "its weights are missing or not the released ones; the node's log tells more")


def _timed(assessor: Assessor, volume: HuVolume, progress: Callable[[float], None]) -> Assessed:
    began = time.monotonic()
    with memory_errors():
        assessment = _only_numbers(assessor.assess(volume, progress))
    progress(1.0)
    return Assessed(model=_reported(assessment), seconds=time.monotonic() - began)


def _too_little_memory(name: str) -> RetryLater:
    return RetryLater(f"memory ran out while {name} looked at one slice; end other programs, or give the node more")


def _only_numbers(assessment: Assessment) -> Assessment:
    """The assessment, unless a value in it is not finite: DICOM cannot say that, and nobody could use it."""
    odd = next((m for m in assessment.measurements if not math.isfinite(m.value)), None)
    if odd is None:
        return assessment
    reason = f"it gave {odd.value} for {odd.name}, which is no number"
    log.error("model gave no number", model=assessment.identity.name, reason=reason)
    return Assessment.not_scored(assessment.identity, ReasonCode.NO_NUMBER, reason)


def _part(progress: Callable[[float], None], index: int, count: int) -> Callable[[float], None]:
    return lambda share: progress((index + share) / count)


def _reported(assessment: Assessment) -> ReportedModel:
    identity = assessment.identity
    return ReportedModel(
        name=identity.name,
        version=identity.version,
        summary=identity.summary,
        trained_on=identity.trained_on,
        weights_sha256=identity.weights_sha256,
        status=ReportStatus(assessment.status.value),
        reason=assessment.reason,
        reason_code=None if assessment.reason_code is None else NotScoredReason(assessment.reason_code.value),
        measurements=tuple(
            ReportedMeasurement(m.name, m.value, m.unit, m.slice_index) for m in assessment.measurements
        ),
        classifications=tuple(
            ReportedClassification(c.name, c.label, c.probability) for c in assessment.classifications
        ),
        maps=assessment.maps.values if assessment.maps is not None else None,
        unscored_slices=dict(assessment.unscored_slices),
    )
