"""A network brought home: the folder stands by itself, and the printed lines load it."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
import widthwise
from safetensors.torch import load_file
from torch import nn
from widthwise.search.errors import SpecError
from widthwise.tests.search.conftest import CommandLine

MODEL = """
from torch import nn
from parts import hidden

def build(widths):
    return nn.Sequential(*hidden(4, widths["a"]), nn.Linear(widths["a"], 3))
"""
PARTS = """
from torch import nn

def hidden(inputs, width):
    return nn.Linear(inputs, width), nn.Tanh()
"""
SPEC = """
study = { name = "mine", trials = 2 }
model = { build = "model.py:build" }
widths = { a = { low = 2, high = 32 } }
limits = { parameters = 100 }
proxy = { data = "iris", epochs = 2, folds = 1, device = "cpu" }
"""


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A study whose network of a = 7 is trained, though it was never searched."""
    folder = tmp_path_factory.mktemp("home")
    cli = CommandLine(folder, f"sqlite:///{folder / 'study.db'}")
    cli.write("model.py", MODEL)
    cli.write("parts.py", PARTS)
    cli.write("mine.toml", SPEC)
    assert cli.run_in_process("submit", "mine.toml").code == 0
    trained = cli("train", "mine", "--widths", "a=7", "--epochs", "4", "--json")
    assert trained.code == 0, trained.err
    (folder / "trained.json").write_text(trained.out)
    return cli


@pytest.fixture(scope="module")
def printed(study: CommandLine) -> str:
    result = study.run_in_process("export", "mine", "--widths", "a=7", "--out", "out")
    assert result.code == 0, result.err
    return result.out


def test_the_printed_lines_load_the_network_wherever_the_folder_is(
    study: CommandLine, printed: str, tmp_path: Path
) -> None:
    said, _, program = printed.partition("This loads it:")
    assert "widths.json, model.py" in said
    lines = program.strip("\n")
    assert len(lines.splitlines()) == 5
    # Away from the files that it was made of.
    (tmp_path / "out").mkdir()
    for file in (study.folder / "out").rglob("*"):
        target = tmp_path / file.relative_to(study.folder)
        target.mkdir(exist_ok=True) if file.is_dir() else target.write_bytes(file.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    by_hand = network(7)
    by_hand.load_state_dict(load_file(tmp_path / "out" / "weights.safetensors"))
    with torch.no_grad():
        expected = by_hand(torch.zeros(1, 4))[0]
    values = [float(text) for text in done.stdout.split("[[")[1].split("]]")[0].split(",")]
    assert values == pytest.approx(expected.tolist(), abs=1e-3)


def test_the_weights_are_those_of_the_final_training(study: CommandLine, printed: str) -> None:
    del printed
    trained = json.loads((study.folder / "trained.json").read_text())
    kept, exported = Path(trained["weights"]), study.folder / "out" / "weights.safetensors"
    assert exported.read_bytes() == kept.read_bytes()


def test_of_several_trainings_the_longest_is_taken_or_the_one_that_is_named(
    study: CommandLine, printed: str, tmp_path: Path
) -> None:
    del printed
    kept = json.loads((study.folder / "trained.json").read_text())
    shorter = study("train", "mine", "--widths", "a=7", "--epochs", "1", "--json").json
    base = ("export", "mine", "--widths", "a=7", "--out", tmp_path)
    for trained, options in ((kept, ()), (shorter, ("--training", "1"))):
        result = study.run_in_process(*base, *options)
        assert result.code == 0, result.err
        assert f"final training {trained['trial']}, {trained['epochs']} epoch" in result.out
        record = json.loads((tmp_path / "widths.json").read_text())
        assert record["training"] == trained
        weights = (tmp_path / "weights.safetensors").read_bytes()
        assert weights == Path(trained["weights"]).read_bytes()
    refused = study.run_in_process(*base, "--training", "5")
    assert refused.code == 2
    assert "5 is no final training of a=7" in refused.err.replace("\n", " ")


def test_onnx_gives_what_the_network_gives(study: CommandLine, printed: str) -> None:
    assert "model.onnx takes batches of any size; run by onnxruntime" in printed
    out = study.folder / "out"
    by_hand = network(7)
    by_hand.load_state_dict(load_file(out / "weights.safetensors"))
    session = onnxruntime.InferenceSession(
        str(out / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    x = torch.randn(11, 4)
    (outputs,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.tensor(outputs), by_hand(x).detach(), rtol=1e-4, atol=1e-5)


def test_the_record_says_what_it_is(study: CommandLine, printed: str) -> None:
    record = json.loads((study.folder / "out" / "widths.json").read_text())
    trained = json.loads((study.folder / "trained.json").read_text())
    assert record["widths"] == {"a": 7}
    assert record["study"] == "mine"
    assert record["recommended"] is False
    assert record["trial"] is None
    assert record["costs"]["parameters"] == 4 * 7 + 7 + 7 * 3 + 3
    assert record["costs"]["macs"] == 4 * 7 + 7 * 3
    assert record["limits"] == {"parameters": 100}
    assert record["metric"]["name"] == "accuracy"
    assert record["training"] == trained
    assert "is not recorded" in record["data"]["inputs"]
    assert "is not recorded" in " ".join(printed.split())
    assert record["data"]["classes"] == ["setosa", "versicolor", "virginica"]
    assert record["versions"]["torch"].startswith(torch.__version__.partition("+")[0])


def test_without_weights_the_rest_is_written_and_it_is_said_how_to_get_them(
    study: CommandLine, tmp_path: Path
) -> None:
    result = study.run_in_process("export", "mine", "--widths", "a=9", "--out", tmp_path, "--json")
    assert result.code == 0, result.err
    assert result.json["files"] == [
        "widths.json", "model.py", "model_source/model.py", "model_source/parts.py"
    ]  # fmt: skip
    assert "`widthwise train mine --widths a=9` trains them" in result.json["notes"][0]
    assert "load_file" not in result.json["program"]


def test_a_later_export_leaves_nothing_of_an_earlier_one(
    study: CommandLine, tmp_path: Path
) -> None:
    for width in (7, 9):
        result = study.run_in_process("export", "mine", "--widths", f"a={width}", "--out", tmp_path)
        assert result.code == 0, result.err
        assert (tmp_path / "weights.safetensors").exists() == (width == 7)
        assert (tmp_path / "model.onnx").exists() == (width == 7)
        assert json.loads((tmp_path / "widths.json").read_text())["widths"] == {"a": width}


def test_from_python_it_is_the_same(
    study: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.folder)
    exported = widthwise.export("mine", tmp_path / "new", storage=study.storage, widths={"a": 7})
    assert set(exported.files) >= {"widths.json", "model.py", "weights.safetensors", "model.onnx"}
    assert exported.widths == {"a": 7}
    assert all((tmp_path / "new" / file).is_file() for file in exported.files)
    with pytest.raises(SpecError, match="found both of widths and trial"):
        widthwise.export("mine", tmp_path, storage=study.storage, widths={"a": 7}, trial=0)


def test_files_of_somebody_else_are_never_overwritten(study: CommandLine) -> None:
    before = (study.folder / "model.py").read_text()
    result = study.run_in_process("export", "mine", "--widths", "a=7", "--out", ".")
    assert result.code == 2
    assert "model.py is there already, and no earlier export wrote it" in result.err
    assert (study.folder / "model.py").read_text() == before
    assert not (study.folder / "widths.json").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nobody", "--out", "x"], "nobody"),
        (["mine", "--out", "x"], "no trial is complete yet, so no widths are recommended"),
        (["mine", "--out", "mine.toml", "--widths", "a=7"], "mine.toml is a file; give a folder"),
        (["mine", "--out", "x", "--widths", "b=7"], '--widths: found "b", expected some of'),
        (["mine", "--out", "x", "--trial", "0"], "--trial: found 0, expected a trial of mine"),
        (["mine", "--out", "x", "--trial", "0", "--widths", "a=7"], "found both of --widths"),
        (["mine"], "--out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_sentence(
    study: CommandLine, arguments: list[str], sentence: str
) -> None:
    result = study.run_in_process("export", *arguments)
    assert result.code == 2
    assert sentence in result.err
    assert "Traceback" not in result.err
    assert not (study.folder / "x").exists()


def test_a_family_says_that_it_needs_us(iris_cli: CommandLine, tmp_path: Path) -> None:
    recommended: dict[str, Any] = json.loads((iris_cli.folder / "run.json").read_text())
    result = iris_cli.run_in_process("export", "iris", "--out", tmp_path / "iris", "--json")
    assert result.code == 0, result.err
    assert result.json["widths"] == recommended["recommended"]["widths"]
    assert "model.py needs the package widthwise, which builds the network." in result.json["notes"]
    names: dict[str, Any] = {}
    exec((tmp_path / "iris" / "model.py").read_text(), names)
    built = names["build"]()
    sizes = [4, *result.json["widths"].values(), 3]
    shapes = [tuple(one.shape) for one in built.parameters() if one.ndim == 2]
    assert shapes == [(sizes[i + 1], sizes[i]) for i in range(3)]


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, hidden=8):
        super().__init__()
        self.first, self.second = nn.Linear(4, hidden), nn.Linear(hidden, 3)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))

def make_model():
    return Net(hidden=12)

def make_local():
    class Local(Net):
        pass
    return Local(hidden=12)
"""


@pytest.mark.parametrize(
    ("name", "built_by"), [("make_model", "Net(hidden=7)"), ("make_local", "find_resizable")]
)
def test_a_model_that_was_discovered_comes_home(cli: CommandLine, name: str, built_by: str) -> None:
    cli.write("net.py", NET)
    spec = SPEC.replace("build =", "discover =").replace("model.py:build", f"net.py:{name}")
    cli.write("mine.toml", spec.replace("{ a = ", "{ first = "))
    submitted = cli.run_in_process("submit", "mine.toml")
    assert submitted.code == 0, submitted.err
    out = cli.folder / "out"
    result = cli.run_in_process("export", "mine", "--widths", "first=7", "--out", out, "--json")
    assert result.code == 0, result.err
    assert built_by in (out / "model.py").read_text()
    lines = result.json["program"].replace("print(", "print(network.state_dict(), ")
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=out, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names: dict[str, Any] = runpy.run_path(str(out / "model.py"))
    shapes = {key: tuple(value.shape) for key, value in names["build"]().state_dict().items()}
    assert shapes == {
        "first.weight": (7, 4), "first.bias": (7,), "second.weight": (3, 7), "second.bias": (3,)
    }  # fmt: skip
