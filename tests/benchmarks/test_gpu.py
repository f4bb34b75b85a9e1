"""The script for a GPU: its parts run on a CPU, and it says where there is no GPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from widthwise.objectives.errors import CostError

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import engines, memory
from benchmarks.gpu.engines import ENGINES_MEASURED, WITHOUT_GRAPHS
from benchmarks.gpu.memory import ARCHITECTURES
from benchmarks.proxy import speed
from benchmarks.proxy.workloads import Workload

CPU = torch.device("cpu")


def test_without_a_gpu_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "out.json"
    assert command.main(["--json", str(out)]) == 2
    assert "'cuda' is not there" in capsys.readouterr().err
    assert not out.exists()


def test_the_parts_run_on_a_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: ARCHITECTURES[name] for name in ("MLP", "BERT-base, bf16, checkpointed")}
    monkeypatch.setattr(memory, "ARCHITECTURES", few)
    monkeypatch.setattr(engines, "MEASURED_WORKLOADS", (("mlp", "8-256 log-uniform"),))
    out = tmp_path / "out.json"
    assert command.main(["--device", "cpu", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["device"] == "cpu"
    assert [row["architecture"] for row in report["memory"]] == list(few)
    assert all(row["predicted"] > 0 and row["measured"] > 0 for row in report["memory"])
    measured = {row["engine"] for row in report["engines"] if row.get("ratio_to_plain", 0) > 0}
    assert {"stacked", WITHOUT_GRAPHS, "loop by hand"} <= measured
    tables = capsys.readouterr().out
    assert "| BERT-base, bf16, checkpointed | 4 |" in tables
    assert f"| {WITHOUT_GRAPHS} |" in tables


def test_there_are_twelve_architectures_and_256_candidates() -> None:
    assert len(ARCHITECTURES) == 12
    assert engines.FULL.candidates == engines.FULL.heavy == 256


def test_a_gpu_is_predicted_for_without_being_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    step = ARCHITECTURES["ResNet-50, bf16"].step(torch.device("cuda"), tiny=True)
    assert (step.device_type, step.capability, step.autocast) == ("cuda", (9, 0), torch.bfloat16)


def test_the_engine_without_graphs_captures_nothing() -> None:
    assert ENGINES_MEASURED[WITHOUT_GRAPHS].create().name == "stacked"


def test_when_the_time_is_over_the_rest_is_named() -> None:
    rows = list(engines.measure_engines(CPU, engines.TINY, lambda: 0.0))
    assert [row["family"] for row in rows] == ["mlp", "cnn", "transformer"]
    assert all(row["skipped"] for row in rows)
    assert "not measured: the time was over" in command.engines_table(rows)
    rows = list(memory.measure_architectures(CPU, lambda: 0.0, tiny=True))
    assert [row["architecture"] for row in rows] == list(ARCHITECTURES)
    assert not any("measured" in row for row in rows)
    assert command.memory_table(rows).count("not measured: the time was over") == 12


def test_what_does_not_fit_is_a_row_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object) -> None:
        raise CostError("a real training step raised OutOfMemoryError")

    monkeypatch.setattr(memory, "measure_step", too_large)
    monkeypatch.setattr(memory, "ARCHITECTURES", {"MLP": ARCHITECTURES["MLP"]})
    [row] = memory.measure_architectures(CPU, lambda: 60.0, tiny=True)
    assert "OutOfMemoryError" in row["error"]
    assert "did not run" in command.memory_table([row])


def test_what_fails_takes_no_other_row_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.json"

    def measure(workload: Workload, *_: object, **__: object) -> Iterator[dict[str, Any]]:
        key = {"family": workload.family, "widths": workload.widths, "candidates": 3}
        if workload.family == "cnn":
            assert len(json.loads(out.read_text())["engines"]) == 1, "rows are written at once"
            raise torch.OutOfMemoryError("CUDA out of memory")
        yield {**key, "engine": "plain", "ratio_to_plain": 1.0, "seconds": 2.0}

    def uncountable(*_: object) -> None:
        raise CostError("the step depends on data")

    monkeypatch.setattr(speed, "measure", measure)
    monkeypatch.setattr(memory, "count_costs", uncountable)
    monkeypatch.setattr(memory, "ARCHITECTURES", {"MLP": ARCHITECTURES["MLP"]})
    assert command.main(["--device", "cpu", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["memory"][0]["error"] == "the step depends on data"
    assert [row["family"] for row in report["engines"]] == ["mlp", "cnn", "transformer"]
    assert report["engines"][1]["error"] == "CUDA out of memory"
    tables = capsys.readouterr().out
    assert "did not run: CUDA out of memory" in tables
    assert "did not run: the step depends on data" in tables
