"""All that is wrong with a spec is reported at once, each with file, key, found and expected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.spec.sections import AUTO_TRIALS
from widthwise.search.spec.spec import Spec, load_spec, parse_spec

GOOD: dict[str, Any] = {
    "study": {"name": "digits", "trials": 40},
    "model": {"family": "mlp"},
    "widths": {
        "hidden1": {"low": 16, "high": 512, "step": 16},
        "hidden2": [16, 32, 64],
        "hidden3": 8,
        "order": "non-increasing",
    },
    "limits": {"flops": "2M", "parameters": "200k", "train_memory": "64 MiB"},
    "proxy": {"data": "digits", "metric": "accuracy"},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    spec = deepcopy(GOOD)
    section, _, key = path.partition(".")
    if key:
        spec.setdefault(section, {})[key] = value
    else:
        spec[section] = value
    return spec


def test_a_good_spec_is_what_it_says() -> None:
    spec = parse_spec(GOOD)
    space, limits = spec.widths.to_space(), spec.limits.to_limits()
    assert space.names == ("hidden1", "hidden2", "hidden3")
    assert [len(width.values) for width in space.widths] == [32, 3, 1]
    assert (limits.flops, limits.parameters, limits.train_memory) == (2_000_000, 200_000, 2**26)
    assert (spec.proxy.epochs, spec.proxy.patience, spec.proxy.folds) == (None, None, None)
    assert spec.study.goal == "best"


def test_a_spec_survives_the_database() -> None:
    spec = parse_spec(GOOD)
    stored = Spec.model_validate_json(spec.to_json(), strict=False)
    assert stored == spec
    assert stored.to_json() == spec.to_json()


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("limits.flosp", "2M", ["limits.flosp", "unknown key", "did you mean flops?"]),
        ("limits.flops", "60% of today", ["limits.flops", '"today"', "none in [references]"]),
        ("limits.flops", "0% of today", ["limits.flops", "above 0 %"]),
        ("references", {"today": {"hidden1": 64}}, ["references.today", "hidden2"]),
        ("stduy", {}, ["stduy", "unknown key", "study"]),
        ("limits.flops", "64 MiB", ["limits.flops", "64 MiB", "FLOPs"]),
        ("limits.train_memory", "2M", ["limits.train_memory", "2M", "MiB"]),
        ("limits.parameters", -5, ["limits.parameters", "-5"]),
        ("study.trials", "many", ["study.trials", '"many"', "whole number"]),
        ("study.trials", 0, ["study.trials", "found 0", "≥ 1"]),
        ("study.goal", "fast", ["study.goal", '"fast"', "'best', 'smallest' or 'front'"]),
        ("study.target", 0.9, ["study", 'target goes with goal "smallest"', 'goal "best"']),
        ("study.name", " x", ["study.name", "expected a name"]),
        (
            "model.build",
            "m.py:f",
            ["model", "discover or family", "build and family"],
        ),
        ("model.discover", "m.py:f", ["model", "found discover and family"]),
        ("model.keep", "head*", ["model", "keep goes with discover"]),
        ("model", {"discover": "m.py:f", "norm": "batch"}, ["model", "norm goes with a family"]),
        ("model", {}, ["model", "discover or family", "none"]),
        ("widths", {}, ["widths", "at least one width"]),
        ("widths.a", {"low": 64, "high": 16}, ["widths", "64", "16", "swap"]),
        ("widths.a", {"low": 64}, ["widths.a", "low and high, or choices"]),
        ("widths.a", {"low": 1, "high": 9, "choices": [3]}, ["widths.a", "choices"]),
        ("widths.a", {"low": 1, "hihg": 9}, ["widths.a.hihg", "did you mean high?"]),
        ("widths.a", [], ["widths", "a"]),
        ("widths.a", {"low": 1, "high": 9, "step": 0}, ["widths", "step", "0"]),
        ("limits.train_memory", "64", ["limits.train_memory", "unit", "MiB"]),
        ("widths.order", "falling", ["widths.order", '"falling"', "non-increasing"]),
        ("widths.tie", [["hidden1", "nobody"]], ["widths", "nobody"]),
        ("widths.divisible", {"nobody": "hidden1"}, ["widths", "nobody"]),
        ("proxy", {}, ["proxy.data", "missing"]),
        ("proxy.learning_rate", 0, ["proxy.learning_rate", "> 0"]),
        ("proxy.epochs", 2.5, ["proxy.epochs", "2.5", "whole number"]),
        ("proxy.at_once", 0, ["proxy.at_once", "found 0", '"auto"', "1 to 4096"]),
        ("proxy.at_once", 5000, ["proxy.at_once", "found 5000", "1 to 4096"]),
        ("proxy.at_once", "many", ["proxy.at_once", '"many"', '"auto"']),
        ("proxy.at_once", True, ["proxy.at_once", "True", "whole number"]),
        ("proxy.halving", 1, ["proxy.halving.eta", "found 1", "≥ 2"]),
        ("proxy.halving", 2.5, ["proxy.halving", "found 2.5", "whole number", "eta and first"]),
        ("proxy.halving", True, ["proxy.halving", "found True", "whole number"]),
        ("proxy.halving", "fast", ["proxy.halving", '"fast"', "whole number"]),
        ("proxy.halving", {"eta": 3, "frist": 1.0}, ["proxy.halving.frist", "mean first?"]),
        ("proxy.halving", {"first": 0}, ["proxy.halving.first", "found 0", "≥ 0.001"]),
        ("proxy.halving", {"first": float("nan")}, ["proxy.halving.first", "finite"]),
        ("proxy.accumulate", 65, ["accumulate is 65", "batch_size 64", "one part a sample"]),
        ("proxy.accumulate", 0, ["proxy.accumulate", "found 0", "≥ 1"]),
        ("proxy.rate_factors", [], ["proxy.rate_factors", "found []", "entries: 1"]),
        ("proxy.rate_factors", [1.0, -2.0], ["proxy.rate_factors.1", "-2.0", "> 0"]),
        ("proxy.rate_factors", 2.0, ["proxy.rate_factors", "2.0", "a list"]),
        ("proxy.rate_factors", [1.0] * 17, ["proxy.rate_factors", "17 factors", "at most 16"]),
        ("proxy.rate_factors", [0.5, 1.0, 0.5], ["proxy.rate_factors", "0.5 2 times", "once"]),
        ("proxy.precision", "fp8", ["proxy.precision", '"fp8"', "'float32' or 'bfloat16'"]),
        ("proxy.replicas", 0, ["proxy.replicas", "found 0", "≥ 1"]),
        ("proxy.folds", 101, ["proxy.folds", "found 101", "≤ 100"]),
        ("proxy.engine", "fused", ["proxy.engine", '"fused"', "removed", '"auto"', '"replay"']),
        ("proxy.engine", "fast", ["proxy.engine", '"fast"', "'stacked'", "'plain'"]),
        ("proxy.parametrisation", "mu", ["proxy.parametrisation", "'mup' or 'standard'"]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_mistake_is_one_clear_line(path: str, value: Any, parts: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(changed(path, value), source="my.toml")
    message = str(caught.value)
    assert message.startswith("my.toml: ")
    assert len(message.splitlines()) == 1, message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(("at_once", "fixed"), [("auto", None), (1, 1), (4096, 4096)])
def test_how_many_are_claimed_at_once(at_once: Any, fixed: int | None) -> None:
    assert parse_spec(changed("proxy.at_once", at_once)).proxy.fixed_claim_size == fixed


def test_all_mistakes_are_reported_at_once() -> None:
    spec = changed("study.trials", "many")
    spec["limits"] = {"flops": "2 MiB", "train_memory": "fast"}
    spec["proxy"] = {"data": "digits", "epochs": -1}
    with pytest.raises(SpecError) as caught:
        parse_spec(spec, source="my.toml")
    keys = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert keys == ["study.trials", "limits.flops", "limits.train_memory", "proxy.epochs"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        pytest.param(None, "no such file", id="missing"),
        pytest.param(b"[study\n", "not valid TOML", id="broken"),
        pytest.param(b"\xff\xfe\x00", "cannot be read", id="binary"),
    ],
)
def test_an_unreadable_file_is_reported_as_one(
    tmp_path: Path, text: bytes | None, part: str
) -> None:
    path = tmp_path / "widthwise.toml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(SpecError, match=part) as caught:
        load_spec(path)
    assert str(path) in str(caught.value)


def build(widths: Mapping[str, int]) -> None:
    """A builder at the top level of a module: worker processes can import it."""


def test_a_function_becomes_a_reference_that_workers_can_load() -> None:
    spec = parse_spec(changed("model", {"build": build}))
    assert spec.model.build == f"{Path(__file__).resolve()}:build"


def test_a_function_that_workers_cannot_load_is_refused() -> None:
    with pytest.raises(SpecError, match="top level of a module"):
        parse_spec(changed("model", {"build": lambda _: None}))


@pytest.mark.parametrize(
    ("limits", "goal", "cost"),
    [
        ({"parameters": "1k"}, {"goal": "front"}, "parameters"),
        ({}, {"goal": "front"}, "flops"),
        ({"parameters": "1k"}, {"goal": "front", "cost": "macs"}, "macs"),
    ],
)
def test_what_to_make_small_is_the_first_limit_unless_given(
    limits: dict[str, str], goal: dict[str, str], cost: str
) -> None:
    spec = deepcopy(GOOD)
    spec["limits"] = limits
    spec["study"].update(goal)
    assert parse_spec(spec).cost == cost


def test_a_search_that_ends_itself_has_a_budget_all_the_same() -> None:
    spec = parse_spec(changed("study.trials", "auto"))
    assert (spec.study.trials, spec.study.stop) == (AUTO_TRIALS, "auto")
    assert parse_spec(json.loads(spec.to_json())) == spec


def test_a_fixed_budget_is_written_as_ever() -> None:
    assert "stop" not in json.loads(parse_spec(changed("study.trials", 7)).to_json())["study"]


def test_neighbours_of_a_family_that_may_be_absent_stand_in_the_space_once() -> None:
    layer = {"choices": [8, 16], "optional": True}
    values = changed("widths", {"hidden1": [8, 16], "hidden2": layer, "hidden3": layer})
    assert parse_spec(values).to_space().size == 2 * (1 + 2 + 4)
    # An order decides itself which layer is absent: no layer follows a wider one.
    rising = {"hidden1": layer, "hidden2": layer, "hidden3": [8, 16], "order": "non-decreasing"}
    rows = parse_spec(changed("widths", rising)).to_space().enumerate()
    assert {(0, 0, 8), (0, 8, 8)} <= {tuple(row) for row in rows.tolist()}


def test_a_layer_that_is_never_absent_is_not_absent_last() -> None:
    widths = {"a": [8, 16], "b": [8, 16], "c": {"choices": [8, 16], "optional": True}}
    values = changed("widths", widths | {"absent_last": [["b", "c"]]})
    with pytest.raises(SpecError, match="absent_last names 'b', which is never absent: give it"):
        parse_spec(values)


@pytest.mark.parametrize(
    ("family", "widths", "sentence"),
    [
        ("transformer", {"d_ff": 64}, "widths: family 'transformer' needs the width 'd_model'"),
        ("lstm", {"hidden1": 8, "depth": [1, 2]}, "has hidden1 and depth, found both"),
        ("mlp", {"hidden": 8, "depth": [1, 2]}, "has no width 'depth'"),
        ("cnn", {"channels": 8, "depth": [1, 2]}, "optional = true"),
        (
            "resnet",
            {"channels1": 8, "channels2": {"choices": [8], "optional": True}},
            "cannot be without 'channels2': take optional = true from it, and search depth",
        ),
    ],
)
def test_widths_that_a_family_does_not_take_are_refused(
    family: str, widths: dict[str, Any], sentence: str
) -> None:
    values = changed("model", {"family": family}) | {"widths": widths}
    with pytest.raises(SpecError) as refused:
        parse_spec(values)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_d_model_is_divisible_by_its_heads() -> None:
    values = changed("model", {"family": "transformer"})
    values["widths"] = {"d_model": [8, 12], "heads": [2, 4, 8]}
    rows = {tuple(row) for row in parse_spec(values).to_space().enumerate().tolist()}
    assert rows == {(8, 2), (8, 4), (8, 8), (12, 2), (12, 4)}
