"""One thread a test process: small tensors gain nothing, and busy cores make threads wait."""

from pathlib import Path

import pytest
import torch
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.load import load_data

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def iris() -> Data:
    return load_data("iris", base=Path(), seed=0)


@pytest.fixture(scope="session")
def diabetes() -> Data:
    return load_data("diabetes", base=Path(), seed=0)
