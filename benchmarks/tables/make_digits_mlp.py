"""Makes `digits_mlp.npz`: every network of a three-width MLP lattice, trained with several seeds.

Data: scikit-learn's digits, split as a study splits them. Engine: the project's own plain loop
(`objectives/loop/train.py`), so the table holds what a study would have measured. Run from the
repository's root; finished trainings are kept in a file beside the table, so that a run that was
stopped goes on.

    python -m benchmarks.tables.make_digits_mlp --seeds 4

The table's arrays: `widths` [n, 3]; `accuracy` and `test_accuracy` [n, seeds] in percent, of the
validation split and of the test split; `flops` (2 × MACs, forward, per sample), `parameters` [n].
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
import torch
from widthwise.objectives.cost.model import CostModel
from widthwise.objectives.data.load import load_data
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.objective import make_objective
from widthwise.objectives.training.optimizer import make_adamw
from widthwise.objectives.training.settings import ProxySettings
from widthwise.objectives.training.step import StepSpec, TensorSpec

NAMES = ("hidden1", "hidden2", "hidden3")
VALUES = (4, 6, 8, 12, 16, 24, 32, 48)
SETTINGS = ProxySettings(
    epochs=12, batch_size=32, patience=0, learning_rate=3e-3, device="cpu", judge_test=True
)
TABLE = Path(__file__).with_name("digits_mlp.npz")


def main() -> None:
    """Train what is not trained yet, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4, help="trainings of each network")
    parser.add_argument("--out", type=Path, default=TABLE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data("digits", base=Path(), seed=0, target=None, task=None, image=False)
    objective = make_objective(
        build=None, family="mlp", options={}, data=data, metric=None, loss=None, base=Path()
    )
    candidates = [dict(zip(NAMES, values, strict=True)) for values in product(VALUES, repeat=3)]
    log_path = arguments.out.with_suffix(".jsonl")
    results = _read_finished(log_path)
    with log_path.open("a") as log_file:
        for seed in range(arguments.seeds):
            for index, widths in enumerate(candidates):
                if (index, seed) in results:
                    continue
                result = train(objective, widths, SETTINGS, seed=seed * len(candidates) + index)
                assert result.value is not None
                assert result.test_value is not None
                results[index, seed] = (100 * result.value, 100 * result.test_value)
                log_file.write(json.dumps([index, seed, *results[index, seed]]) + "\n")
                log_file.flush()
    step = StepSpec(
        inputs=(TensorSpec(shape=data.input_shape, dtype=data.train.inputs.dtype),),
        targets=TensorSpec(
            shape=tuple(data.train.targets.shape[1:]), dtype=data.train.targets.dtype
        ),
        batch_size=SETTINGS.batch_size,
        optimizer=lambda model: make_adamw(model, SETTINGS.learning_rate),
        loss=objective.loss,
    )
    cost_model = CostModel(objective.build, step, NAMES)
    traced_costs = [cost_model.candidate_costs(widths) for widths in candidates]
    accuracies = np.array(
        [
            [results[index, seed] for seed in range(arguments.seeds)]
            for index in range(len(candidates))
        ],
        dtype=np.float32,
    )
    np.savez_compressed(
        arguments.out,
        widths=np.array([list(widths.values()) for widths in candidates], dtype=np.int16),
        accuracy=accuracies[:, :, 0],
        test_accuracy=accuracies[:, :, 1],
        flops=np.array([cost.flops for cost in traced_costs], dtype=np.int64),
        parameters=np.array([cost.parameters for cost in traced_costs], dtype=np.int64),
    )
    log_path.unlink()


def _read_finished(log_path: Path) -> dict[tuple[int, int], tuple[float, float]]:
    """Return the trainings that an earlier run finished, by network and seed."""
    if not log_path.exists():
        return {}
    rows = [json.loads(line) for line in log_path.read_text().splitlines()]
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


if __name__ == "__main__":
    main()
