"""From a weights file that a training wrote to weights that a site's node uses."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors import SafetensorError, safe_open

from ctiqa_models import catalog
from ctiqa_models.installed import Installed, Provenance, install_file
from ctiqa_models.weights import WeightsError, sha256_of

_LABEL_DIGITS = 8


def adopt(file: Path, folder: Path, now: datetime, label: str | None = None) -> Installed:
    """Install a weights file that `train` wrote, bit by bit as it is, in place of what ships or was installed before.

    The file says which model it is of, and it is loaded once before anything is replaced. `label` is what results will
    call the weights (None: "site-" and the beginning of the file's SHA-256). Raises WeightsError when it is no such
    file or cannot be used, and OSError when it cannot be opened or written.
    """
    metadata = _metadata(file)
    model = metadata.get("model", "")
    if model not in catalog.TRAINABLE:
        known = ", ".join(catalog.TRAINABLE)
        raise WeightsError(f"{file.name} does not say that it is one of {known}; import what `ctiqa-node train` wrote.")
    digest = sha256_of(file)
    provenance = Provenance(
        architecture=model,
        label=label or f"site-{digest[:_LABEL_DIGITS]}",
        source_file=file.name,
        source_sha256=digest,
        installed_at=now.isoformat(timespec="seconds"),
        trained_on=metadata.get("trained_on", "unknown data"),
    )
    with TemporaryDirectory() as trial:
        install_file(Path(trial) / "models", model, file, provenance)
        catalog.assessors("cpu", [model], Path(trial) / "models")
    return install_file(folder, model, file, provenance)


def _metadata(file: Path) -> dict[str, str]:
    try:
        with safe_open(file, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except SafetensorError as error:
        raise WeightsError(f"{file.name} is not a safetensors file ({error}).") from error
