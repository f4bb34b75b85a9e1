"""Weights & Biases, offline: what its own reader finds in the files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from widthwise.tests.search.tracking.runs import COMPLETE, FAILED, a_trial

_HEADER, _BLOCK, _RECORD_HEAD = 7, 32_768, 7
_FULL, _LAST = 1, 4


def _records(file: Path) -> list[Any]:
    """Read a file of wandb's: its protocol buffers in LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    content, at, parts = file.read_bytes(), _HEADER, b""
    assert content[:4] == b":W&B"
    records = []
    while at + _RECORD_HEAD <= len(content):
        if _BLOCK - at % _BLOCK < _RECORD_HEAD:
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        at += _RECORD_HEAD
        parts += content[at : at + length]
        at += length
        if kind in (_FULL, _LAST):
            records.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return records


def _history(records: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "/".join(item.nested_key) or item.key: json.loads(item.value_json)
            for item in record.history.item
        }
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # its own service's pipes
def test_several_runs_at_once_are_kept_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from widthwise.search.tracking.wandb import WandbTracker

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    tracker = WandbTracker("widths", tmp_path)
    widths = {"hidden1": 64, "trial": 32}
    runs = [tracker.start(a_trial(number, widths=widths)) for number in (7, 8)]
    for step in (1, 2):
        for offset, run in enumerate(runs):
            run.report(step, {"accuracy": step / 4 + offset})
    runs[0].end(COMPLETE)
    runs[1].end(FAILED)
    files = {file.stem: _records(file) for file in tmp_path.glob("wandb/offline-run-*/*.wandb")}
    assert set(files) == {"run-0123abcd-7", "run-0123abcd-8"}
    records = files["run-0123abcd-7"]
    [made] = [record.run for record in records if record.WhichOneof("record_type") == "run"][:1]
    assert (made.project, made.display_name, made.run_group) == ("widths", "digits/7", "digits")
    config = {item.key: json.loads(item.value_json) for item in made.config.update}
    assert (config["hidden1"], config["trial"], config["attempt"]) == (64, 32, 1)
    assert config["cost/parameters"] == 4810
    history = _history(records)
    assert [(row["_step"], row["accuracy"]) for row in history] == [(1, 0.25), (2, 0.5)]
    assert [row["accuracy"] for row in _history(files["run-0123abcd-8"])] == [1.25, 1.5]
    exits = {
        name: [record.exit.exit_code for record in records if record.HasField("exit")]
        for name, records in files.items()
    }
    assert exits == {"run-0123abcd-7": [0], "run-0123abcd-8": [1]}
    out, err = capfd.readouterr()
    assert out == err == ""
