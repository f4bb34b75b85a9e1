"""A small study in this process: candidates known by their widths, and trouble on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from optuna.trial import FrozenTrial
from sqlalchemy import update
from widthwise.search.problem.device_memory import classify_device
from widthwise.search.problem.problem import Problem
from widthwise.search.spec.spec import parse_spec
from widthwise.search.trial.claim_size import ClaimSizer
from widthwise.search.trial.outcome import Outcome
from widthwise.search.trial.runner import Runner
from widthwise.search.worker.heartbeat import LeaseHeartbeat
from widthwise.search.worker.shutdown import StopRequest
from widthwise.search.worker.supervisor import TrialSupervisor
from widthwise.search.worker.worker import Worker
from widthwise.storage.database.database import Database
from widthwise.storage.database.tables import slots
from widthwise.storage.ledger.ledger import Ledger, Slot, SlotRecord
from widthwise.storage.ledger.slot import StudyRow
from widthwise.storage.projection.projection import Projection
from widthwise.storage.study.study import create_study

MODEL = '''
import sys
import torch
from torch import nn

TROUBLE = {trouble}

class Known(nn.Module):
    """Trains like any other, and is judged by its width."""

    def __init__(self, width):
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Linear(4, 3 + width % 4), nn.ReLU(), nn.LazyLinear(3))
        self.layers(torch.zeros(2, 4))

    def forward(self, x):
        out = self.layers(x)
        if not self.training:
            return 0 * out + self.width
        what = TROUBLE.get(self.width)
        if what == "raise":
            raise RuntimeError("the moon is full")
        if what == "exit":
            sys.exit(3)
        if what == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory")
        if what == "crowded" and TROUBLE.pop(self.width):
            raise torch.OutOfMemoryError("CUDA out of memory")
        if what == "poison":
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return out * float("nan") if what == "nan" else out

def build(widths):
    if TROUBLE.get(widths["a"]) == "unbuildable":
        raise ValueError("no such model")
    return Known(widths["a"])

def costs(widths):
    return {{"parameters": 10 * widths["a"], "train_memory": 1000 * widths["a"]}}

def parameters(widths):
    return {{"parameters": 10 * widths["a"]}}

def width(output, target):
    return float(output.mean())

width.direction = "maximize"

def load():
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    y = x[:, :3].argmax(1)
    return x[:24], y[:24], x[24:32], y[24:32], x[32:], y[32:]
'''


@dataclass(frozen=True, kw_only=True)
class StudyHarness:
    """A study and what works on it."""

    problem: Problem
    database: Database
    row: StudyRow

    def ledger(self, worker: str = "me", lease_seconds: float = 60.0) -> Ledger:
        return Ledger(self.database, self.row, worker=worker, lease_seconds=lease_seconds)

    @property
    def projection(self) -> Projection:
        return Projection(self.database, self.row)

    def runner(self, stop_requested: Callable[[], bool] = lambda: False, **options: Any) -> Runner:
        claim_sizer = ClaimSizer(fixed=self.problem.spec.proxy.fixed_claim_size)
        return Runner(
            problem=self.problem,
            ledger=self.ledger(),
            projection=self.projection,
            stop_requested=stop_requested,
            device_class=classify_device(torch.device("cpu")),
            **{"claim_sizer": claim_sizer, **options},
        )

    def supervisor(self, **options: Any) -> TrialSupervisor:
        return TrialSupervisor(
            ledger=self.ledger(),
            projection=self.projection,
            trainer=self.runner(**options),
            lease_seconds=60.0,
        )

    def run_worker(self, **options: Any) -> list[Outcome]:
        """Work until nothing is left; returns all outcomes."""
        outcomes: list[Outcome] = []
        worker = Worker(
            supervisor=self.supervisor(**options),
            ledger=self.ledger(),
            stop=StopRequest(),
            on_outcome=outcomes.append,
        )
        worker.run()
        return outcomes

    def records(self) -> list[SlotRecord]:
        return self.ledger().reader.records()

    def trials(self) -> list[FrozenTrial]:
        return self.database.optuna_storage().get_all_trials(self.row.optuna_study_id)

    def steal_leases(self, numbers: Sequence[int]) -> list[Slot]:
        """Let the leases of slots end and another worker claim them."""
        expire = (
            update(slots)
            .where(slots.c.study_id == self.row.id, slots.c.number.in_(numbers))
            .values(lease_until=1.0)
        )
        self.database.write(lambda connection: connection.execute(expire))
        other_ledger = self.ledger("thief", lease_seconds=60.0)
        return [slot for slot in other_ledger.claim_many(len(numbers)) if slot.number in numbers]


def make_harness(
    folder: Path,
    database: Database,
    *,
    trials: int,
    faults: Mapping[int, str] | None = None,
    widths: int = 40,
    limits: Mapping[str, Any] | None = None,
    costs: str = "costs",
    **proxy: Any,
) -> StudyHarness:
    """A study over one width from 1 up, whose metric is the width itself."""
    (folder / "known.py").write_text(MODEL.format(trouble=dict(faults or {})))
    values = {
        "study": {"name": "known", "trials": trials},
        "model": {"build": "known.py:build", "costs": f"known.py:{costs}"},
        "widths": {"a": {"low": 1, "high": widths}},
        "limits": dict(limits or {}),
        "proxy": {
            "data": "known.py:load",
            "metric": "known.py:width",
            "parametrisation": "standard",
            "epochs": 2,
            "batch_size": 8,
            "device": "cpu",
            **proxy,
        },
    }
    problem = Problem.load(parse_spec(values), folder)
    row, _ = create_study(
        database,
        name="known",
        spec=problem.spec.to_json(),
        fingerprint=problem.fingerprint,
        direction="maximize",
        metric="width",
        base=str(folder),
        budget=trials,
    )
    return StudyHarness(problem=problem, database=database, row=row)


def wait_until_lost(heartbeat: LeaseHeartbeat, numbers: set[int]) -> None:
    """Wait until a heartbeat knows that slots are lost."""
    timer = threading.Event()
    while not numbers <= heartbeat.lost:
        timer.wait(0.01)
