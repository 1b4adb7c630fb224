"""`make audit`: ask a vulnerability database about every package of the lock file, and never take silence for a pass.

Exit codes: 0 every package was looked up and none has a known vulnerability; 1 there are known vulnerabilities; 3 no
database could be asked about all of them, so that nothing is known.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "requirements" / "dev.txt"
OSV = "https://api.osv.dev/v1/query"
CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 3
SHOWN = 5
SENTENCE = 160


@dataclass(frozen=True, slots=True)
class Answer:
    """What one database said."""

    database: str
    looked_up: int = 0
    found: tuple[str, ...] = ()
    """A line for each known vulnerability."""
    missing: tuple[str, ...] = ()
    """Packages that it did not answer about."""
    trouble: str = ""
    """Why it could not be asked at all."""

    @property
    def complete(self) -> bool:
        """Whether it answered about every package."""
        return not self.trouble and not self.missing and self.looked_up > 0


def main() -> int:
    """Ask PyPI, and OSV where PyPI does not answer about all; the exit code of `make audit`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", type=Path, default=LOCK)
    parser.add_argument("--osv-url", default=OSV)
    parser.add_argument("--only-osv", action="store_true", help="do not ask PyPI")
    arguments = parser.parse_args()
    answers = []
    for service in ("osv",) if arguments.only_osv else ("pypi", "osv"):
        answers.append(ask(arguments.lock, service, arguments.osv_url))
        if answers[-1].complete:
            break
    return tell(answers)


def ask(lock: Path, service: str, osv_url: str) -> Answer:
    """Run pip-audit over a lock file with one database; nothing is installed or resolved."""
    done = subprocess.run(  # noqa: S603  # our own interpreter and constant words
        [
            sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip",
            "--vulnerability-service", service, "--osv-url", osv_url, "--format", "json", "--progress-spinner", "off",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    name = {"pypi": "PyPI", "osv": "OSV"}[service]
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = [line for line in done.stderr.splitlines() if line.strip()]
        return Answer(name, trouble=said[-1][:SENTENCE] if said else f"pip-audit ended with {done.returncode}")
    return Answer(
        name,
        looked_up=sum("skip_reason" not in package for package in packages),
        found=tuple(line for package in packages for line in _vulnerabilities(package)),
        missing=tuple(package["name"] for package in packages if "skip_reason" in package),
    )


def _vulnerabilities(package: dict[str, object]) -> list[str]:
    listed = package.get("vulns")
    return [
        f"{package['name']} {package['version']}: {each['id']}, mended in {', '.join(each['fix_versions']) or 'none'}"
        for each in (listed if isinstance(listed, list) else [])
    ]


def tell(answers: Sequence[Answer]) -> int:
    """Write what the databases said; the exit code."""
    found = sorted({line for answer in answers for line in answer.found})
    for line in found:
        say(line)
    complete = [answer for answer in answers if answer.complete]
    for answer in answers:
        if answer.trouble:
            say(f"{answer.database} could not be asked: {answer.trouble}")
        elif answer.missing:
            names = ", ".join(answer.missing[:SHOWN]) + (", …" if len(answer.missing) > SHOWN else "")
            answered = f"{answer.database} answered about {answer.looked_up} packages"
            say(f"{answered} and not about {len(answer.missing)}: {names}")
    if found:
        say(f"{len(found)} known vulnerabilities.")
        return VULNERABLE
    if complete:
        say(f"{complete[0].looked_up} packages looked up in {complete[0].database}: no known vulnerability.")
        return CLEAN
    say("NOT AUDITED: no vulnerability database could be asked about all packages. This is no pass.")
    return NOT_AUDITED


def say(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
