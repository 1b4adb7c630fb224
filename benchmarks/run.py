"""Runs the benchmarks, one after the other, each in a process of its own; `make bench` is this.

    python benchmarks/run.py [database,loading]

A benchmark is a file `measure_NAME.py` beside this one. One that fails does not stop the others.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = {path.stem.removeprefix("measure_"): path for path in sorted(HERE.glob("measure_*.py"))}


def main() -> int:
    """Run those that were named, or all; 1 when one of them failed."""
    wanted = [name for argument in sys.argv[1:] for name in argument.split(",") if name] or list(SCRIPTS)
    unknown = [name for name in wanted if name not in SCRIPTS]
    if unknown:
        print(f"No such benchmark: {', '.join(unknown)}. There are: {', '.join(SCRIPTS)}.", file=sys.stderr)
        return 2
    failed = []
    for name in wanted:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(SCRIPTS[name])], check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
