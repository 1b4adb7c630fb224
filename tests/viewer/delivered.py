"""What a node has sent into an archive, for the tests to compare with what viewers show."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from archives import Orthanc
from pydicom import dcmread
from pydicom.dataset import Dataset

BUILD = Path(__file__).resolve().parents[2] / "build" / "viewer"
"""Where OHIF is installed and screenshots go."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A study in an archive, with the results as the node tells them."""

    archive: Orthanc
    results: dict[str, Any]

    def object(self, kind: str) -> Dataset:
        """A result object, as the archive has it."""
        (output,) = [output for output in self.results["outputs"] if output["kind"] == kind]
        return dcmread(BytesIO(self.archive.fetch(output["sop_instance_uid"])))

    def archive_id(self, kind: str) -> str:
        """Orthanc's own identifier of the instance."""
        (found,) = self.archive.find("Instance", {"SOPInstanceUID": self.object(kind).SOPInstanceUID})
        return str(found["ID"])

    def slice_values(self, z: int) -> dict[str, float]:
        """The values of a slice by their names."""
        return {
            m["name"]: m["value"]
            for model in self.results["models"]
            for m in model["slices"]
            if m["slice_index"] == z and m["value"] is not None
        }

    def series_values(self) -> dict[str, float]:
        """The values of the whole series by their names."""
        return {m["name"]: m["value"] for model in self.results["models"] for m in model["measurements"]}
