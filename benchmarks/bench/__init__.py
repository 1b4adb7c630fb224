"""What the benchmarks share: timing, the machine in words, tables, JSON, and the page that is written of them."""

import sys
from pathlib import Path

# The Orthanc of the demonstration and the node of the tests, which benchmarks start as well.
sys.path += [str(Path(__file__).resolve().parents[2] / folder) for folder in ("demo", "tests")]
