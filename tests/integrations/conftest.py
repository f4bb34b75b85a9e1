"""Examples in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from widthwise.tests.integrations.example import ExampleRun


@pytest.fixture
def example(tmp_path: Path) -> ExampleRun:
    return ExampleRun(tmp_path)
