"""`make sbom`: what a node consists of, as CycloneDX 1.6: itself, the locked packages that it needs, its weights.

Names, licences and who needs whom come from what is installed, which must be what `requirements/node.txt` says; tools
for tests and lint are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from ctiqa_models.catalog import CHEST_CTIQA_WEIGHTS, N2Q_WEIGHTS, TFKT_WEIGHTS
from ctiqa_models.trunk.gate import TRUNK_WEIGHTS
from ctiqa_models.weights import WeightsFile, sha256_of
from ctiqa_node import __version__
from locked import locked

ROOT = Path(__file__).resolve().parents[1]
NODE = "ctiqa-node"
WEIGHTS = {
    "n2q": N2Q_WEIGHTS,
    "tfkt": TFKT_WEIGHTS,
    "chest_ctiqa": CHEST_CTIQA_WEIGHTS,
    "trunk": TRUNK_WEIGHTS,
}
Json = dict[str, Any]


class SbomError(Exception):
    """What is installed is not what is locked; the message says what to do."""


def main() -> int:
    """Write the file; the exit code of `make sbom`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "sbom.cdx.json")
    output = parser.parse_args().output
    try:
        bom = node_bom(installed_bom())
    except SbomError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    content = json.dumps(bom, indent=2, sort_keys=True) + "\n"
    if trouble := JsonStrictValidator(SchemaVersion.V1_6).validate_str(content):
        sys.stderr.write(f"not valid CycloneDX 1.6: {trouble}\n")
        return 1
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(content, encoding="utf-8")
    sys.stdout.write(f"{output}: {len(bom['components'])} components\n")
    if unlicensed := [each["name"] for each in bom["components"] if not each.get("licenses")]:
        sys.stdout.write(f"These publish no licence that can be read: {', '.join(unlicensed)}\n")
    return 0


def installed_bom() -> Json:
    """What cyclonedx-py tells of the environment that this runs in."""
    command = ("environment", "--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--sv", "1.6")
    done = subprocess.run(  # noqa: S603  # our own interpreter and constant words
        [sys.executable, "-m", "cyclonedx_py", *command, sys.executable], capture_output=True, check=True
    )
    bom: Json = json.loads(done.stdout)
    return bom


def node_bom(bom: Json) -> Json:
    """The same without what a node does not need, with hashes of the lock file and with the weights."""
    wanted = locked(ROOT / "requirements" / "node.txt")
    found = {str(canonicalize_name(each["name"])): each for each in bom["components"]}
    wrong = [
        f"{name} {pin.version}" for name, pin in wanted.items() if found.get(name, {}).get("version") != pin.version
    ]
    if wrong:
        raise SbomError(f"Not installed as locked: {', '.join(wrong)}. Run `make .venv/installed-dev` first.")
    components = [_hashed(found[name], pin.sha256) for name, pin in wanted.items()]
    weights = [_weights(name, file) for name, file in WEIGHTS.items()]
    kept = {each["bom-ref"] for each in components}
    root = {**bom["metadata"]["component"], "version": __version__}
    return {
        **bom,
        "metadata": {**bom["metadata"], "component": root},
        "components": components + weights,
        "dependencies": [*_kept(bom["dependencies"], kept, root["bom-ref"], weights)],
    }


def _hashed(component: Json, sha256: tuple[str, ...]) -> Json:
    """With the SHA-256 of every file that the lock file allows for it (one of them was installed)."""
    properties = [{"name": "ctiqa:locked-sha256", "value": digest} for digest in sha256]
    return {**component, "properties": [*component.get("properties", []), *properties]}


def _weights(name: str, file: WeightsFile) -> Json:
    """A weights file; its SHA-256 is that of the file as it lies here, and must be the one that the code knows."""
    digest = sha256_of(file.path)
    if digest != file.sha256:
        raise SbomError(f"{file.path} is not the file that was released.")
    return {
        "bom-ref": f"weights-{name}",
        "type": "machine-learning-model",
        "name": f"{name} weights",
        "version": __version__,
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "properties": [{"name": "ctiqa:file", "value": str(file.path.relative_to(ROOT / "models"))}],
    }


def _kept(dependencies: list[Json], kept: set[str], root: str, weights: list[Json]) -> Iterator[Json]:
    """Who needs whom, of those that are left."""
    for each in dependencies:
        needs = [ref for ref in each.get("dependsOn", ()) if ref in kept]
        if each["ref"] == root:
            needs += [str(model["bom-ref"]) for model in weights]
        if each["ref"] in kept or each["ref"] == root:
            yield {"ref": each["ref"], "dependsOn": needs}


if __name__ == "__main__":
    sys.exit(main())
