"""A study whose trainings mostly sleep, and what its ledger says."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL
from widthwise.storage.database.database import Database
from widthwise.storage.errors import StorageError
from widthwise.storage.ledger import events
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.ledger.slot import SlotRecord
from widthwise.storage.study.study import load_study

MODEL = """\
import time
from torch import nn

class Napping(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        # A short last batch is seen in training only: a nap an epoch.
        if self.training and len(x) == 16:
            time.sleep({nap})
        return self.layers(x)

def build(widths):
    return Napping(widths["a"])
"""
DATA = """\
import torch

def load():
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    y = x[:, :3].argmax(1)
    return x[:48], y[:48], x[48:72], y[48:72], x[72:], y[72:]
"""
SPEC = """\
study = {{ name = "{name}", trials = {trials} }}
model = {{ build = "{name}.py:build" }}
widths = {{ a = {{ low = 2, high = 60 }} }}
proxy = {{ data = "{name}_data.py:load", epochs = {epochs}, batch_size = 32, patience = 0, \
learning_rate = 0.02, at_once = 1, engine = "plain", parametrisation = "standard" }}
"""


def write_study(
    folder: Path, name: str = "nap", *, trials: int, sleep_seconds: float = 0.1, epochs: int = 5
) -> Path:
    """A spec with its model and data beside it; returns the spec's path."""
    (folder / f"{name}.py").write_text(MODEL.format(nap=sleep_seconds))
    (folder / f"{name}_data.py").write_text(DATA)
    spec = folder / f"{name}.toml"
    spec.write_text(SPEC.format(name=name, trials=trials, epochs=epochs))
    return spec


class LedgerWatch:
    """The ledger of a study, from beside."""

    def __init__(self, url: URL, name: str = "nap") -> None:
        self._url, self._name = url, name

    def states(self) -> Counter[str]:
        return Counter(record.state for record in self._records())

    def any_leased(self) -> bool:
        return self.states()["leased"] > 0

    def count_done(self) -> int:
        return self.states()["done"]

    def leased_records(self) -> list[SlotRecord]:
        return [record for record in self._records() if record.state == "leased"]

    def event_counts(self) -> Counter[str]:
        with Database.open(self._url, create=False) as database:
            return Counter(
                event.kind for event in events.read(database, load_study(database, self._name))
            )

    def assert_exact(self, budget: int) -> None:
        """Every slot done and complete, no widths twice."""
        records = self._records()
        assert Counter((record.state, record.outcome) for record in records) == {
            ("done", "complete"): budget
        }
        assert len({str(record.widths) for record in records}) == budget

    def assert_nothing_charged(self) -> None:
        """No slot is held, and none was charged an attempt for what it is still to do."""
        for record in self._records():
            assert record.state in ("free", "done")
            assert record.state == "done" or record.attempts == 0

    def _records(self) -> list[SlotRecord]:
        """The slots; none before the study is there."""
        try:
            with Database.open(self._url, create=False) as database:
                study = load_study(database, self._name)
                return LedgerReader(database, study).records()
        except StorageError:
            return []


def wait_until(
    condition: Callable[[], object], *, seconds: float = 200, description: str = ""
) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never came so far: {description or condition}"
        time.sleep(0.1)
