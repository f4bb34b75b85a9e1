"""Memory that really runs out in real workers: recorded once, never tried again, outlived."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from widthwise.search.spec.spec import load_spec
from widthwise.search.study import create_or_join_study
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import Ledger
from widthwise.storage.study.study import load_study
from widthwise.tests.one_slot import bind_one, claim_one, settle_one

from .command import CommandStudy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.promise("OOM and poison")]

SPEC = """\
study = {{ name = "hungry", trials = {trials} }}
model = {{ build = "hungry.py:build" }}
widths = {{ a = {widths} }}
proxy = {{ data = "hungry_data.py:load", epochs = 2, batch_size = 24, engine = "{engine}", \
parametrisation = "standard" }}
"""
MODEL = """\
import os, resource, signal
import torch
from torch import nn

lost = False

def cap():
    \"""Let this process have little more than it has now, by the kernel's own limit.\"""
    with open("/proc/self/statm") as file:
        data = int(file.read().split()[5]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_DATA, (data + 300 * 2**20, hard))

class Hungry(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        # Real tensors only: tracing takes no memory.
        if self.training and type(x) is torch.Tensor:
            {fault}
        return self.layers(x)

def build(widths):
    return Hungry(widths["a"])
"""
DATA = """\
import torch

def load():
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    y = x[:, :3].argmax(1)
    return x[:48], y[:48], x[48:72], y[48:72], x[72:], y[72:]
"""
INJECTED = "if self.width >= 40: raise torch.OutOfMemoryError('CUDA out of memory: 20 GiB')"
KILLED = "if self.width == 60: os.kill(os.getpid(), signal.SIGKILL)"
CAPPED = "cap()"
LOST = """\
global lost
            lost = lost or self.width == 60
            if lost: raise torch.AcceleratorError("CUDA error: an illegal memory access")"""

RecordCounts = Callable[..., None]


class MemoryStudy(CommandStudy):
    """The study `hungry`."""

    def write(self, fault: str, widths: list[int], trials: int, *, engine: str = "plain") -> None:
        (self.folder / "hungry.py").write_text(MODEL.format(fault=fault))
        (self.folder / "hungry_data.py").write_text(DATA)
        text = SPEC.format(trials=trials, widths=widths, engine=engine)
        (self.folder / "hungry.toml").write_text(text)

    def train(self) -> None:
        """Submit the study, and work on it to its end."""
        self.submit("hungry.toml")
        self.work()

    def work(self) -> None:
        result = self.run_in_process("worker", "hungry")
        assert result.code == 0, result.err

    def outcomes(self) -> list[tuple[int, str, int]]:
        """Width, outcome and claims of every slot that is done, in the order of their claims."""
        rows = self.query_rows(
            "select widths, outcome, attempts from widthwise_slot where state = 'done' "
            "order by number"
        )
        return [(int(widths.strip('{}"a: ')), outcome, claims) for widths, outcome, claims in rows]

    def classes(self) -> set[str]:
        """On what memory ran out."""
        query = "select result from widthwise_slot where outcome = 'out_of_memory'"
        return {json.loads(result)["device_class"] for (result,) in self.query_rows(query)}

    def open(self) -> Database:
        return Database.open(resolve_url(self.environment["WIDTHWISE_STORAGE"]), create=True)


@pytest.fixture
def study(tmp_path: Path) -> MemoryStudy:
    return MemoryStudy(tmp_path, "hungry")


def assert_outcomes(study: MemoryStudy, record_counts: RecordCounts, complete: set[int]) -> None:
    """Every failure is one claim of a width below all failures before; the rest is complete."""
    outcomes = study.outcomes()
    assert {width for width, outcome, _ in outcomes if outcome == "complete"} == complete
    failed = [width for width, outcome, _ in outcomes if outcome == "out_of_memory"]
    assert failed
    assert failed == sorted(failed, reverse=True)
    assert min(failed) > max(complete)
    assert len(failed) + len(complete) == len(outcomes)
    assert {claims for _, _, claims in outcomes} == {1}
    assert len({width for width, _, _ in outcomes}) == len(outcomes)
    (device,) = study.classes()
    assert device.startswith("cpu: ")
    report = study.report()
    assert {failure["outcome"] for failure in report["failures"]} == {"out_of_memory"}
    assert all("memory ran out" in failure["reason"] for failure in report["failures"])
    record_counts(
        budget=len(study.slot_states()),
        complete=len(complete),
        running=study.slot_states().count("leased"),
        out_of_memory=len(failed),
    )


def test_an_error_of_the_gpus_allocator(study: MemoryStudy, record_counts: RecordCounts) -> None:
    study.write(INJECTED, [10, 20, 30, 40, 50, 60, 70, 80], trials=8)
    study.train()
    assert_outcomes(study, record_counts, {10, 20, 30})


def test_a_real_limit_on_the_trainers_memory(
    study: MemoryStudy, record_counts: RecordCounts
) -> None:
    """The kernel refuses the process more; its trial fails, and it trains the others."""
    study.write(CAPPED, [10, 20, 30, 1_000_000, 2_000_000, 4_000_000], trials=6)
    result = study.run_command("run", "hungry.toml")
    assert result.code == 0, result.err
    assert_outcomes(study, record_counts, {10, 20, 30})
    kinds = study.event_kinds()
    assert "failed" not in kinds
    assert "reclaimed" not in kinds


def test_what_did_not_fit_another_kind_of_device_is_trained_here(
    study: MemoryStudy, record_counts: RecordCounts
) -> None:
    study.write("pass", [10, 20, 30, 40], trials=4)
    with study.open() as database:
        spec = load_spec(study.folder / "hungry.toml")
        row = create_or_join_study(spec, study.folder, lambda: database, Console(quiet=True))
        ledger = Ledger(database, row, worker="elsewhere")
        slot = claim_one(ledger)
        assert slot is not None
        slot = bind_one(ledger, slot, {"a": 10}, "sampler")
        result = {"device_class": "cuda: NVIDIA H200, 140 GiB", "detail": "memory ran out"}
        settle_one(ledger, slot, outcome="out_of_memory", value=None, result=result)
    study.work()
    assert {width: outcome for width, outcome, _ in study.outcomes()} == {
        10: "out_of_memory",
        20: "complete",
        30: "complete",
        40: "complete",
    }
    record_counts(budget=4, complete=3)


def test_what_did_not_fit_this_kind_of_device_is_not_tried_by_a_new_worker(
    study: MemoryStudy, record_counts: RecordCounts
) -> None:
    """Nor is a slot that was bound to it elsewhere."""
    study.write(INJECTED, [10, 20, 30, 40, 50, 60], trials=1)
    study.train()
    assert study.outcomes() == [(60, "out_of_memory", 1)]
    with study.open() as database:
        ledger = Ledger(database, load_study(database, "hungry"), worker="elsewhere")
        ledger.set_budget(6)
        (exceeded,) = ledger.reader.out_of_memory()
        assert exceeded[0] == {"a": 60}
        assert (exceeded[1] or "").startswith("cpu: ")
    study.work()
    assert_outcomes(study, record_counts, {10, 20, 30})


def test_a_size_that_kills_the_process_while_engines_are_compared(
    study: MemoryStudy, record_counts: RecordCounts
) -> None:
    """The largest is a sample for it; later its trial kills three trainers and is given up."""
    study.write(KILLED, [20, 40, 60], trials=3, engine="auto")
    study.train()
    assert {width: outcome for width, outcome, _ in study.outcomes()} == {
        20: "complete",
        40: "complete",
        60: "error",
    }
    (failure,) = study.report()["failures"]
    assert "SIGKILL" in failure["reason"]
    record_counts(budget=3, complete=2, quarantined=1)


def test_a_failed_kernel_costs_its_own_trial_and_no_other(
    study: MemoryStudy, record_counts: RecordCounts
) -> None:
    """After it every training of the process fails, as after a real one; so the process goes."""
    study.write(LOST, [20, 40, 60], trials=3)
    study.train()
    assert {width: (outcome, claims) for width, outcome, claims in study.outcomes()} == {
        20: ("complete", 1),
        40: ("complete", 1),
        60: ("error", 3),
    }
    (failure,) = study.report()["failures"]
    assert "lost the GPU: CUDA error" in failure["reason"]
    record_counts(budget=3, complete=2, quarantined=1)
