"""A cost is one entry of the registry: counting, limits, formats and storage follow from it."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from widthwise.objectives.cost.registry import (
    COSTS,
    LIMITABLE_COSTS,
    QUANTITIES,
    derive_costs,
    macs_per_sample,
)
from widthwise.objectives.training.step import StepSpec, TensorSpec


def step(**options: Any) -> StepSpec:
    return StepSpec(inputs=(TensorSpec(shape=(3,)),), batch_size=5, **options)


NEW_COST = '''
import importlib.util
import sys
from pathlib import Path

ENTRY = """
    Cost(
        name="largest_tensor_size",
        unit=Unit.BYTES,
        title="largest tensor",
        quantity=Quantity(
            name="largest_tensor_size", read=lambda trace: (trace.training.largest_tensor,)
        ),
        limit_rank=7,
        option_help="Limit, of the largest tensor.",
    ),
"""
found = importlib.util.find_spec("widthwise.objectives.cost.registry")
before, end_of_costs, after = Path(found.origin).read_text().partition(')\\n"""All costs')
assert after
registry = sys.modules[found.name] = importlib.util.module_from_spec(found)
exec(before + ENTRY + end_of_costs + after, registry.__dict__)
'''

EVERYWHERE = """
import json
from pathlib import Path

import numpy as np
from torch import nn

from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs
from widthwise.objectives.cost.model import CostModel
from widthwise.objectives.cost.user_costs import UserCostModel
from widthwise.search.report.summary import cost_columns
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import Space, Width
from widthwise.search.spec.spec import parse_spec
from widthwise.search.units import format_cost

NAME = "largest_tensor_size"
step = StepSpec(inputs=(TensorSpec(shape=(3,)),), batch_size=5)
build = lambda widths: nn.Sequential(nn.Linear(3, widths["a"]), nn.Linear(widths["a"], 2))

# Counted: one candidate, and many by fitted polynomials that another process can take over.
assert getattr(count_costs(lambda: build({"a": 100}), step), NAME) == 5 * 100 * 4
space = Space([Width.range("a", 10, 500)])
model = CostModel(build, step, space.names)
model.fit(space)
assert model.counted_by == "polynomial"
copy = CostModel(build, step, space.names)
copy.restore(json.loads(json.dumps(model.state())))
assert copy.evaluate(np.array([[100], [200]]))[NAME].tolist() == [2000, 4000]
given = UserCostModel(lambda widths: {NAME: 4 * widths["a"]}, space.names)
assert given.candidate_costs({"a": 5}).as_dict() == {NAME: 20}

# Limited: by the spec, which the gate follows, and from the command line.
spec = parse_spec(
    {
        "study": {"name": "s", "goal": "front", "cost": NAME},
        "model": {"family": "mlp"},
        "widths": {"a": {"low": 10, "high": 500}},
        "limits": {NAME: "2 kB"},
        "proxy": {"data": "digits"},
    }
)
limits = spec.limits.to_limits()
assert limits == Limits(**{NAME: 2000})
feasible = FeasibleSet(space, limits, copy.evaluate)
assert feasible.is_feasible(np.array([[100], [101]])).tolist() == [True, False]

# Formatted.
assert format_cost(NAME, 2048) == "2 KiB"
assert cost_columns(limits.as_dict())[NAME] == "largest tensor"

from typer.testing import CliRunner
from widthwise.search.cli.verbs import app

help_text = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "160"}).output
assert "--max-largest-tensor-size" in help_text, help_text
assert "Limit, of the largest tensor." in help_text, help_text
Path("models.py").write_text(
    "from torch import nn\\ndef build(widths):\\n    return nn.Linear(3, widths['a'])\\n"
)
counted = CliRunner().invoke(
    app,
    ["cost", "--build", "models.py:build", "--input", "3", "--widths", "a=512", "--batch-size=5"],
    env={"COLUMNS": "160"},
).output
assert "largest tensor" in counted and "10 KiB" in counted, counted
print("everywhere")
"""


def test_a_new_cost_is_one_entry(tmp_path: Any) -> None:
    """In a process of its own, as the product's tables are made when it is imported."""
    result = subprocess.run(
        [sys.executable, "-c", NEW_COST + EVERYWHERE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "everywhere\n", result.stderr


def test_names_and_ranks_are_distinct() -> None:
    for values in (
        [cost.name for cost in COSTS],
        [quantity.name for quantity in QUANTITIES],
        [cost.limit_rank for cost in LIMITABLE_COSTS],
    ):
        assert len(set(values)) == len(values)


@pytest.mark.parametrize("options", [{}, {"device_type": "cuda"}], ids=["cpu", "cuda"])
def test_arrays_and_numbers_are_derived_alike(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    many = {quantity.name: rng.integers(1, 2**40, size=20) for quantity in QUANTITIES}
    derived = derive_costs(many, step(**options))
    for index in range(20):
        single = derive_costs(
            {name: int(values[index]) for name, values in many.items()}, step(**options)
        )
        assert single == {name: int(values[index]) for name, values in derived.items()}


def test_macs_are_per_sample_and_rounded_up() -> None:
    """64 samples through `nn.Linear(64, 32)`: 262,144 / 2 / 64 = 2,048."""
    inputs = (TensorSpec(shape=(64,), dtype=torch.float32),)
    assert macs_per_sample(262_144, StepSpec(inputs=inputs, batch_size=64)) == 2_048
    assert macs_per_sample(21, step()) == 3
