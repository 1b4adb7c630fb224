"""A reception on a free port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.reception import Reception


@pytest.fixture
def open_reception(tmp_path: Path) -> Iterator[Callable[..., Reception]]:
    """open_reception(setting=value …): settings of the `node` section, `min_free_bytes` and `spool` of the spool."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Reception(tmp_path / "node", **settings))


@pytest.fixture
def reception(open_reception: Callable[..., Reception]) -> Reception:
    """A reception with the default settings."""
    return open_reception()
