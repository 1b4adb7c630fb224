"""Weights that a site installed itself: for each model a safetensors file, and a small JSON that vouches for it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ctiqa_models.weights import NotInstalledError, WeightsError, WeightsFile, sha256_of

if TYPE_CHECKING:  # torch takes seconds to import, and listing what is installed needs none of it
    import torch


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where weights came from, and what they are."""

    architecture: str
    """Which code the tensors belong to: `tfkt-v2-public`, `n2q-public`, or the model's own name for our own."""
    label: str
    """What results call them, as the model's version."""
    source_file: str
    """The name of the file that was imported; empty for weights that were trained here."""
    source_sha256: str
    installed_at: str
    """ISO 8601, UTC."""
    trained_on: str


@dataclass(frozen=True, slots=True)
class Installed:
    """The installed weights of one model of the catalog."""

    model: str
    sha256: str
    provenance: Provenance


def _record_path(folder: Path, model: str) -> Path:
    return folder / f"{model}.json"


def weights_path(folder: Path, model: str) -> Path:
    """The weights file of a model."""
    return folder / f"{model}.safetensors"


def install(
    folder: Path,
    model: str,
    tensors: Mapping[str, torch.Tensor],
    provenance: Provenance,
    extra: Mapping[str, str] | None = None,
) -> Installed:
    """Write a model's weights as they are, and the JSON beside them; what was installed before is replaced.

    Each file is written under another name first, so that a full disk leaves what was there. What root installs belongs
    to whom the folder above belongs. `extra` joins the metadata in the safetensors file. Raises OSError.
    """
    from safetensors.torch import save_file

    whole = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    metadata = {"model": model, **asdict(provenance), **(extra or {})}
    return _install(folder, model, provenance, lambda part: save_file(whole, part, metadata=metadata))


def install_file(folder: Path, model: str, file: Path, provenance: Provenance) -> Installed:
    """The same for a safetensors file, which is kept bit by bit as it is."""
    return _install(folder, model, provenance, lambda part: shutil.copyfile(file, part))


def remove(folder: Path, model: str) -> bool:
    """Take away what is installed for a model, and answer whether there was anything. Raises OSError."""
    there = _record_path(folder, model).exists()
    _record_path(folder, model).unlink(missing_ok=True)
    weights_path(folder, model).unlink(missing_ok=True)
    return there


def _install(folder: Path, model: str, provenance: Provenance, write: Callable[[Path], object]) -> Installed:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = weights_path(folder, model)
    part = path.with_suffix(".part")
    try:
        write(part)
        installed = Installed(model, sha256_of(part), provenance)
        record = _record_path(folder, model).with_suffix(".json.part")
        record.write_text(json.dumps(asdict(installed), indent=2) + "\n", encoding="utf-8")
        for made in (folder, part, record):
            _hand_over(made, folder.parent)
        part.replace(path)
        record.replace(_record_path(folder, model))
    finally:
        part.unlink(missing_ok=True)
    return installed


def _hand_over(made: Path, example: Path) -> None:
    """Give a file that root made to the owner of `example`; the node must be able to read it and is not root."""
    if os.geteuid() == 0:
        owner = example.stat()
        os.chown(made, owner.st_uid, owner.st_gid)


def find(folder: Path | None, model: str) -> Installed | None:
    """What is installed for a model; None without a folder, or when nothing is. WeightsError for an unusable record."""
    if folder is None:
        return None
    record = _record_path(folder, model)
    try:
        if not record.is_file():
            return None
        content = json.loads(record.read_text(encoding="utf-8"))
        provenance = Provenance(**{field.name: str(content["provenance"][field.name]) for field in fields(Provenance)})
        return Installed(str(content["model"]), str(content["sha256"]), provenance)
    except OSError as error:
        raise WeightsError(f"{record} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{record} cannot be read ({error}). Import the weights again.") from error


def require(folder: Path | None, model: str, why: str) -> tuple[Installed, WeightsFile]:
    """What is installed for a model, and its file; NotInstalledError with the sentence `why` when nothing is."""
    found = find(folder, model)
    if found is None or folder is None:
        raise NotInstalledError(why)
    remedy = "Import it again with `ctiqa-node model import`."
    return found, WeightsFile(weights_path(folder, model), found.sha256, "imported", remedy)
