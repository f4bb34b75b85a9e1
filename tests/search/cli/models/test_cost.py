"""`widthwise cost` gives figures that follow from first principles, for one, many or all."""

from __future__ import annotations

from typing import Any

import pytest

MODELS = """
import torch
from torch import nn

class TwoHeads(nn.Module):
    def __init__(self, inputs, a, b):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, a), nn.ReLU(), nn.Linear(a, b), nn.ReLU())
        self.left, self.right = nn.Linear(b, 4), nn.Linear(b, 4)

    def forward(self, x):
        hidden = self.body(x)
        return self.left(hidden), self.right(hidden)

def two_heads(widths):
    return TwoHeads(widths.get("inputs", 31), widths["a"], widths["b"])

def encoder_layer(widths):
    return nn.TransformerEncoderLayer(768, 12, 3072)

def linear(widths):
    return nn.Linear(64, 32)

def convolution(widths):
    return nn.Conv2d(3, 64, 3)

def normalisation(widths):
    return nn.BatchNorm1d(64)

def reads_values(widths):
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)
        def forward(self, x):
            return self.layer(x) if x.sum().item() > 0 else x
    return Reads()

def reference():
    return nn.Linear(4, 100)
"""


@pytest.fixture
def models(cli: Any) -> Any:
    cli.write("models.py", MODELS)
    return cli


@pytest.mark.parametrize(
    ("name", "shape", "widths", "parameters"),
    [
        # 31·64 + 64 + 64·32 + 32 + 2·(32·4 + 4); a published walk-through slips in 31·64.
        ("two_heads", "31", "a=64,b=32", 4392),
        ("two_heads", "11", "a=64,b=32,inputs=11", 3112),
        # 4·768² + 4·768 for attention, 2·768·3072 + 3072 + 768 for the rest, 4·768 for the norms.
        ("encoder_layer", "16x768", "", 7_087_872),
        ("linear", "64", "", 2080),
        ("convolution", "3x32x32", "", 1792),
        ("normalisation", "64", "", 128),
    ],
)
def test_parameters_hold_to_the_arithmetic(
    models: Any, name: str, shape: str, widths: str, parameters: int
) -> None:
    result = models.run_in_process(
        *("cost", "--build", f"models.py:{name}", "--input", shape, "--widths", widths, "--json")
    )
    assert result.code == 0, result.err
    assert result.json["parameters"] == result.json["trainable_parameters"] == parameters
    assert result.json["flops"] == 2 * result.json["macs"]
    assert result.json["train_memory"] >= result.json["inference_memory"] > 4 * parameters


def test_the_two_headed_net_in_full(models: Any) -> None:
    arguments = ("cost", "--build", "models.py:two_heads", "--widths", "a=64,b=32", "--input", "31")
    costs = models.run_in_process(*arguments, "--json").json
    macs = 31 * 64 + 64 * 32 + 2 * 32 * 4
    assert costs["macs"] == macs
    # Forward, gradients of weights, gradients of inputs save those of the first layer.
    assert costs["step_flops"] == 2 * (3 * macs - 31 * 64)
    output = models.run_in_process(*arguments).out
    assert "4,392" in output
    assert "FLOPs (2 × MACs)" in output


def test_memory_grows_with_the_batch_and_the_optimizer(models: Any) -> None:
    def memory(*flags: str) -> int:
        arguments = ("cost", "--build", "models.py:linear", "--input", "64", "--json")
        return int(models.run_in_process(*arguments, *flags).json["train_memory"])

    assert memory("--batch-size", "8") < memory("--batch-size", "64")
    # AdamW keeps two numbers a parameter, SGD none.
    difference = memory("--optimizer", "adamw") - memory("--optimizer", "sgd")
    assert difference >= 2 * 4 * 2080


def test_a_file_of_candidates(models: Any) -> None:
    models.write("some.csv", "a,b\n64,32\n8,4\n")
    models.write("some.json", '[{"a": 64, "b": 32}, {"a": 8, "b": 4}]')
    arguments = ("cost", "--build", "models.py:two_heads", "--input", "31", "--candidates")
    payload = models.run_in_process(*arguments, "some.csv", "--json").json
    assert [result["parameters"] for result in payload] == [4392, 8 * 32 + 4 * 9 + 2 * 20]
    assert payload == models.run_in_process(*arguments, "some.json", "--json").json
    assert "4,392" in models.run_in_process(*arguments, "some.csv").out
    models.write("bad.csv", "a,b\n64,wide\n")
    bad = models.run_in_process(*arguments, "bad.csv")
    assert bad.code == 2
    assert "wide" in bad.err


def test_by_module_and_verified(models: Any) -> None:
    arguments = ("cost", "--build", "models.py:two_heads", "--widths", "a=64,b=32", "--input", "31")
    payload = models.run_in_process(*arguments, "--by-module", "--verify", "--json").json
    modules = {module["name"]: module for module in payload["modules"]}
    assert modules["left"]["parameters"] == 132
    assert modules["left"]["macs"] == 128
    assert sum(m["macs"] for m in payload["modules"] if m["leaf"]) == payload["macs"]
    measured = payload["measured"]
    for memory in ("train_memory", "inference_memory"):
        assert measured[f"{memory}_without_scratch"] == payload[memory]
        assert payload[memory] <= measured[memory] <= 1.001 * payload[memory]
    output = models.run_in_process(*arguments, "--by-module", "--verify").out
    assert "body.0" in output
    assert "training memory: predicted" in output
    assert "inference: predicted" in output
    assert output.count("predicted / measured = ") == 2


def test_the_parts_of_a_memory_stand_below_it(models: Any) -> None:
    arguments = ("cost", "--build", "models.py:two_heads", "--widths", "a=64,b=32", "--input", "31")
    rows = [
        row.split("│")[1].strip()
        for row in models.run_in_process(*arguments).out.splitlines()
        if "│" in row
    ]
    parts = [index for index, row in enumerate(rows) if row.startswith("of it ")]
    assert parts == list(range(parts[0], parts[0] + 7))
    assert "training" in rows[parts[0] - 1]


SPACE = """
study = { name = "s" }
model = { family = "mlp" }
widths = { a = { low = 2, high = 40, step = 2 }, b = { low = 2, high = 40, step = 2 } }
proxy = { data = "iris" }
limits = { parameters = "50% of today", flops = "100% of other" }
references = { today = { a = 20, b = 20 }, other = "models.py:reference" }
"""


def test_a_whole_space_with_limits_relative_to_references(models: Any) -> None:
    models.write("s.toml", SPACE)
    payload = models.run_in_process("cost", "s.toml", "--json").json

    def parameters(a: int, b: int) -> int:
        return 5 * a + (a + 1) * b + (b + 1) * 3

    limits = {"parameters": parameters(20, 20) // 2, "flops": 2 * 4 * 100}
    assert payload["limits"] == limits
    assert payload["candidates"] == payload["evaluated"] == 400
    everything = [(a, b) for a in range(2, 41, 2) for b in range(2, 41, 2)]
    counts = sorted(parameters(a, b) for a, b in everything)
    assert payload["smallest"]["parameters"] == counts[0] == payload["quantiles"]["parameters"]["0"]
    assert payload["largest"]["parameters"] == counts[-1] == payload["quantiles"]["parameters"]["1"]
    assert payload["quantiles"]["parameters"]["0.5"] == counts[199]
    feasible = [
        parameters(a, b) <= limits["parameters"] and 2 * (4 * a + a * b + 3 * b) <= limits["flops"]
        for a, b in everything
    ]
    assert payload["feasible_share"] == pytest.approx(sum(feasible) / 400)
    assert payload["binding"] == "parameters"
    assert "the limit that binds is parameters" in models.run_in_process("cost", "s.toml").out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["cost"], ["spec file or --build"]),
        (["cost", "--build", "models.py:linear"], ["--input"]),
        (["cost", "s.toml", "--widths", "a=2"], ["a", "b"]),
        (["cost", "--build", "models.py:reads_values", "--input", "4"], ["item", "torch.where"]),
        (
            ["cost", "--build", "models.py:linear", "--input", "64", "--optimizer", "adamm"],
            ["adamm"],
        ),
        (
            ["cost", "--build", "models.py:linear", "--input", "4", "--candidates", "no.csv"],
            ["no.csv"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_counted_is_reported(
    models: Any, arguments: list[str], parts: list[str]
) -> None:
    models.write("s.toml", SPACE)
    result = models.run_in_process(*arguments)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) == 1, result.err
    for part in parts:
        assert part in result.err


OPAQUE = """
import torch
from torch import nn

class Opaque(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.hidden, self.head = nn.Linear(4, width), nn.Linear(width, 3)

    def forward(self, x):
        x = torch.from_numpy(x.detach().numpy().copy())
        return self.head(torch.relu(self.hidden(x)))

def build(widths):
    return Opaque(widths["a"])

def costs(widths):
    return {"parameters": 8 * widths["a"] + 3, "macs": 7 * widths["a"]}

def leave(widths):
    raise SystemExit(0)
"""

GIVEN = """
[study]
name = "given"
[model]
build = "opaque.py:build"
costs = "opaque.py:{function}"
[widths]
a = [2, 4, 8, 16]
[proxy]
data = "iris"
[limits]
parameters = 40
"""


def test_the_costs_that_a_spec_gives_by_a_function_are_shown(models: Any) -> None:
    """The model reads values, so that no trace counts it: the study takes the function's word."""
    models.write("opaque.py", OPAQUE)
    models.write("given.toml", GIVEN.format(function="costs"))
    models.write("some.csv", "a\n2\n16\n")
    payload = models.run_in_process("cost", "given.toml", "--json").json
    assert payload["counted_by"] == "given"
    assert payload["feasible_share"] == 0.5
    assert payload["largest"] == {"widths": {"a": 16}, "parameters": 131, "macs": 112, "flops": 224}
    one = models.run_in_process("cost", "given.toml", "--widths", "a=4", "--json").json
    assert (one["parameters"], one["flops"]) == (35, 56)
    rows = models.run_in_process("cost", "given.toml", "--candidates", "some.csv", "--json").json
    assert [row["parameters"] for row in rows] == [19, 131]
    for arguments in ([], ["--widths", "a=16"], ["--candidates", "some.csv"]):
        result = models.run_in_process("cost", "given.toml", *arguments)
        assert result.code == 0
        assert "131" in result.out
        assert "training memory" not in result.out


@pytest.mark.parametrize(
    ("function", "option", "part"),
    [
        ("costs", "--by-module", "opaque.py line 11"),
        ("costs", "--verify", "not train_memory"),
        ("costs", "--for=cuda", "--for: the costs are those of opaque.py:costs"),
        ("leave", "--json", "SystemExit: 0"),
        ("costs", "--precision=bfloat16", "--precision goes with --build: set it in given.toml"),
        ("costs", "--accumulate=4", "--accumulate goes with --build: set it in given.toml"),
        ("costs", "--foreach", "--foreach goes with --build: set it in given.toml"),
        ("costs", "--batch-size=64", "--batch-size goes with --build: set it in given.toml"),
    ],
)
def test_what_the_function_or_the_model_does_not_give_is_said(
    models: Any, function: str, option: str, part: str
) -> None:
    models.write("opaque.py", OPAQUE)
    models.write("given.toml", GIVEN.format(function=function))
    result = models.run_in_process("cost", "given.toml", "--widths", "a=4", option)
    assert result.code == 2
    assert part in result.err
    assert len(result.err.splitlines()) == 1, result.err


LINEAR = ("cost", "--build", "models.py:linear", "--input", "64", "--batch-size", "32", "--json")


def test_memory_of_a_gpu_that_is_not_here(models: Any) -> None:
    """In evaluation weight, bias, batch and output are alive: each rounded up, with workspace and
    10 %."""
    live = 4 * (64 * 32 + 32 + 32 * 64 + 32 * 32)
    here, there = (
        models.run_in_process(*LINEAR).json,
        models.run_in_process(*LINEAR, "--for", "cuda:8.0").json,
    )
    assert here["inference_memory"] == live
    assert there["inference_memory"] == -(-(live + 4 * 511 + 8_519_680) * 11 // 10)
    assert there["device"] == "cuda"
    assert "device" not in here
    by_device = there["train_memory_by_device"]
    assert by_device == {"cpu": here["train_memory"], "cuda": there["train_memory"]}
    assert there["flops"] == here["flops"]


def test_a_newer_gpu_keeps_a_larger_workspace(models: Any) -> None:
    older = models.run_in_process(*LINEAR, "--for", "cuda:8.9").json["train_memory"]
    newer = models.run_in_process(*LINEAR, "--for", "cuda:9.0").json["train_memory"]
    assert newer - older == pytest.approx(1.1 * (2**25 - 8_519_680), abs=1)
    assert models.run_in_process(*LINEAR, "--for", "cuda").json["train_memory"] == newer


def test_parts_of_a_batch_and_precision_are_counted(models: Any) -> None:
    options = ("cost", "--build", "models.py:two_heads", "--input", "31", "--batch-size", "4096")
    options += ("--widths", "a=64,b=64", "--json")
    whole = models.run_in_process(*options).json["train_memory"]
    assert models.run_in_process(*options, "--accumulate", "8").json["train_memory"] < whole / 2
    assert models.run_in_process(*options, "--precision", "bfloat16").json["train_memory"] < whole
    at_once = models.run_in_process(*options, "--foreach", "--batch-size", "1").json["train_memory"]
    assert at_once != models.run_in_process(*options, "--batch-size", "1").json["train_memory"]


def test_no_gpu_to_measure_on_is_said(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = models.run_in_process(*LINEAR, "--for", "cuda", "--verify")
    assert result.code == 2
    assert "--verify: memory is counted for a GPU, and there is none here" in result.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--for", "gpu"), '--for: found "gpu", expected "cpu", "cuda"'),
        (("--precision", "half"), '--precision: found "half", expected float32 or bfloat16'),
        (("--accumulate", "0"), "--accumulate: found"),
    ],
    ids=["for", "precision", "accumulate"],
)
def test_what_a_gpus_options_do_not_know(
    models: Any, options: tuple[str, ...], message: str
) -> None:
    result = models.run_in_process(*LINEAR, *options)
    assert result.code == 2
    assert message in result.err


SPEC_FOR_A_GPU = """
[study]
name = "s"
trials = 4
[model]
family = "mlp"
[widths]
a = { low = 4, high = 64, step = 4 }
[limits]
train_memory = "MEMORY"
memory_for = "cuda:8.0"
[proxy]
data = "iris"
device = "cpu"
"""


def test_a_study_on_a_cpu_is_judged_by_the_memory_of_a_gpu(cli: Any) -> None:
    cli.write("s.toml", SPEC_FOR_A_GPU.replace("MEMORY", "1 GiB"))
    one = cli.run_in_process("cost", "s.toml", "--widths", "a=16", "--json").json
    assert one["train_memory"] == one["train_memory_by_device"]["cuda"] > 8_519_680
    on_cpu = cli.run_in_process("cost", "s.toml", "--widths", "a=16", "--for", "cpu", "--json").json
    assert on_cpu["train_memory"] == one["train_memory_by_device"]["cpu"] < 100_000
    survey = cli.run_in_process("cost", "s.toml", "--json").json
    assert survey["device"] == "cuda"
    middle = (survey["smallest"]["train_memory"] + survey["largest"]["train_memory"]) // 2
    cli.write("s.toml", SPEC_FOR_A_GPU.replace("MEMORY", f"{middle} B"))
    checked = cli.run_in_process("check", "s.toml", "--json").json
    assert checked["device"] == "cuda"
    assert 0 < checked["feasible_share"] < 1
    [note] = [note for note in checked["notes"] if "limits.memory_for" in note]
    assert 'memory is judged for "cuda:8.0"' in note
    assert "trained on cpu" in note
    # For the CPU itself every candidate is far below that limit.
    here = cli.run_in_process("check", "s.toml", "--for", "cpu", "--json").json
    assert here["feasible_share"] == 1
    assert "device" not in here
