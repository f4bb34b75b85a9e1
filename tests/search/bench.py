"""A small study in this process: candidates known by their widths, and trouble on demand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from optuna.trial import FrozenTrial
from sqlalchemy import update
from widthwise.search.problem.device_memory import classify_device
from widthwise.search.problem.problem import Problem
from widthwise.search.spec.spec import parse_spec
from widthwise.search.trial.claim_size import ClaimSizer
from widthwise.search.trial.outcome import SlotOutcome
from widthwise.search.trial.runner import Runner
from widthwise.search.trial.watch import BatchWatch
from widthwise.search.worker.heartbeat import LeaseHeartbeat
from widthwise.search.worker.observer import SilentObserver, WorkerObserver
from widthwise.search.worker.shutdown import StopRequest
from widthwise.search.worker.supervisor import TrialSupervisor
from widthwise.search.worker.worker import Worker
from widthwise.storage.database.database import Database
from widthwise.storage.database.tables import slots
from widthwise.storage.ledger.ledger import Ledger, Slot, SlotRecord
from widthwise.storage.ledger.slot import StudyRow
from widthwise.storage.projection.projection import Projection
from widthwise.storage.study.study import create_study
from widthwise.storage.study.workers import WorkerActivity

MODEL = '''
import asyncio
import sys
import torch
from torch import nn

TROUBLE = {trouble}

class Abort(BaseException):
    """No Exception: a library that would unwind to its own main loop raises such a one."""

ENDINGS = {{
    "cancel": asyncio.CancelledError,
    "interrupt": KeyboardInterrupt,
    "generator": GeneratorExit,
    "abort": Abort,
}}

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
        if what in ENDINGS:
            raise ENDINGS[what]
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
    if TROUBLE.get(widths["a"]) == "build abort":
        raise Abort
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


class ScriptedStop(StopRequest):
    """A request to stop whose answers are given."""

    def __init__(self, answer: Callable[[], bool]) -> None:
        super().__init__()
        self._answer = answer

    def __call__(self) -> bool:
        return self._answer()


@dataclass(frozen=True)
class FixedWatch:
    """A watch over a batch whose answers are given."""

    lost: Callable[[], frozenset[int]] = frozenset
    stop_requested: Callable[[], bool] = lambda: False


@dataclass
class OutcomeCollector:
    """An observer that keeps the outcomes."""

    outcomes: list[SlotOutcome] = field(default_factory=list)

    def activity_changed(self, activity: WorkerActivity) -> None:
        """Keep nothing of it."""

    def slot_ended(self, outcome: SlotOutcome) -> None:
        self.outcomes.append(outcome)


@dataclass(kw_only=True)
class InProcessTrainer:
    """A trainer without a process of its own."""

    runner: Runner

    @property
    def claim_size(self) -> int:
        return self.runner.claim_size

    @property
    def device_class(self) -> str:
        return self.runner.device_class

    def start(self) -> None:
        """The model is loaded."""

    def run_batch(self, slots: Sequence[Slot], watch: BatchWatch) -> list[SlotOutcome]:
        return self.runner.run_batch(slots, watch)

    def release_device(self) -> None:
        """The device is this process's."""


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

    def runner(self, **options: Any) -> Runner:
        claim_sizer = ClaimSizer(fixed=self.problem.spec.proxy.fixed_claim_size)
        return Runner(
            problem=self.problem,
            ledger=self.ledger(),
            projection=self.projection,
            device_class=classify_device(torch.device("cpu")),
            **{"claim_sizer": claim_sizer, **options},
        )

    def supervisor(
        self,
        stop_requested: Callable[[], bool] | None = None,
        observer: WorkerObserver | None = None,
        **options: Any,
    ) -> TrialSupervisor:
        return TrialSupervisor(
            ledger=self.ledger(),
            projection=self.projection,
            trainer=InProcessTrainer(runner=self.runner(**options)),
            lease_seconds=60.0,
            stop=StopRequest() if stop_requested is None else ScriptedStop(stop_requested),
            observer=observer or SilentObserver(),
        )

    def run_worker(self, **options: Any) -> list[SlotOutcome]:
        """Work until nothing is left; returns all outcomes."""
        observer = OutcomeCollector()
        Worker(supervisor=self.supervisor(observer=observer, **options)).run()
        return observer.outcomes

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


HarnessFactory = Callable[..., StudyHarness]
"""`make_harness` in a test's own folder and database; see the fixture `new_harness`."""


def make_harness(
    folder: Path,
    database: Database,
    *,
    trials: int | str,
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
        budget=problem.spec.study.trials,
    )
    return StudyHarness(problem=problem, database=database, row=row)


def wait_until_lost(heartbeat: LeaseHeartbeat, numbers: set[int]) -> None:
    """Wait until a heartbeat knows that slots are lost."""
    wait_until(lambda: numbers <= heartbeat.lost())


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something that another thread brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)
