"""The handle stays in its process."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from widthwise.objectives.own_training.trial import Trial

from .calls import train_to_result


def test_it_cannot_be_sent_to_another_process(tmp_path: Path) -> None:
    seen: list[Trial] = []

    def train(widths: Any, trial: Trial) -> float:
        seen.append(trial)
        return 1.0

    train_to_result(train, tmp_path)
    with pytest.raises(TypeError, match="report in the process"):
        pickle.dumps(seen[0])
