"""`make sbom`: what is listed is what is locked and what ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ctiqa_models.weights import sha256_of
from locked import locked
from sbom import SbomError, node_bom

ROOT = Path(__file__).resolve().parents[2]
LOCKED = locked(ROOT / "requirements" / "node.txt")


def _installed(**versions: str) -> dict[str, Any]:
    """What cyclonedx-py tells of an environment that has the locked packages, pytest, and some in other versions."""
    there = {**{name: pin.version for name, pin in LOCKED.items()}, "pytest": "9.2.0", **versions}
    refs = [f"{name}=={version}" for name, version in there.items()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"bom-ref": "root", "type": "application", "name": "ctiqa-node"}},
        "components": [
            {"bom-ref": ref, "type": "library", "name": ref.split("==")[0], "version": ref.split("==")[1]}
            for ref in refs
        ],
        "dependencies": [{"ref": "root", "dependsOn": refs}, *({"ref": ref} for ref in refs)],
    }


def test_the_sbom_lists_the_locked_packages_and_the_weights_that_ship() -> None:
    bom = node_bom(_installed())
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is None
    packages = [each["name"] for each in bom["components"] if each["type"] == "library"]
    assert sorted(packages) == sorted(LOCKED)
    models = [each for each in bom["components"] if each["type"] == "machine-learning-model"]
    shipped = {sha256_of(path) for path in (ROOT / "models").glob("ctiqa_models/*/weights/*.safetensors")}
    assert {each["hashes"][0]["content"] for each in models} == shipped
    (root,) = [each for each in bom["dependencies"] if each["ref"] == "root"]
    assert {each["bom-ref"] for each in models} < set(root["dependsOn"])
    assert not any(ref.startswith("pytest") for ref in root["dependsOn"])


def test_what_is_installed_in_another_version_than_locked_is_no_sbom() -> None:
    with pytest.raises(SbomError, match="Not installed as locked: torch "):
        node_bom(_installed(torch="0.1"))
