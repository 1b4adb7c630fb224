"""Weights that a site trained with this code and installed: used in place of those that ship, under its own name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ctiqa_models.api import Assessment, Assessor, HuVolume, ModelIdentity, Progress
from ctiqa_models.installed import Installed, find, weights_path
from ctiqa_models.weights import WeightsFile

_REMEDY = "Install it again with `ctiqa-node model import --as trained`, or go back with `ctiqa-node model rm`."


def trained_here(folder: Path | None, model: str) -> Installed | None:
    """What the site trained and installed for a model; None when there is nothing, or an import of other code's."""
    found = find(folder, model)
    return found if found is not None and found.provenance.architecture == model else None


def site_weights(folder: Path | None, model: str) -> WeightsFile | None:
    """The weights file of what the site trained for a model; None: use the one that ships."""
    found = trained_here(folder, model)
    if found is None or folder is None:
        return None
    return WeightsFile(weights_path(folder, model), found.sha256, "installed", _REMEDY)


def under_site_label(assessor: Assessor, folder: Path | None) -> Assessor:
    """The assessor with the site's label for a version, when its weights are the site's; else as it is."""
    found = trained_here(folder, assessor.identity.name)
    return assessor if found is None else _Labelled(assessor, found.provenance.label)


class _Labelled:
    """An assessor whose results name the site's label as the version."""

    def __init__(self, assessor: Assessor, label: str) -> None:
        self._assessor = assessor
        self._identity = replace(assessor.identity, version=label)

    @property
    def identity(self) -> ModelIdentity:
        """Whose results these are."""
        return self._identity

    def assess(self, volume: HuVolume, progress: Progress) -> Assessment:
        """Assess as the model does."""
        return replace(self._assessor.assess(volume, progress), identity=self._identity)
