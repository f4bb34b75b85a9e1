"""A search from Python: objects in, a result out, with the guarantees that any search has."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import widthwise
from sklearn.datasets import load_iris
from torch import nn
from torch._subclasses.fake_tensor import is_fake
from widthwise.objectives.errors import ImportFailure
from widthwise.objectives.user_code import load_object
from widthwise.search.errors import (
    Drained,
    FingerprintMismatch,
    NothingFeasible,
    NothingLearned,
    SpecError,
)
from widthwise.search.python.result import SearchResult
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.ledger.slot import SlotCounts, StudyStatus, TrialOutcome
from widthwise.storage.study.control import set_status
from widthwise.storage.study.study import load_study

FEATURES, CLASSES = load_iris(return_X_y=True)
SHORT: Mapping[str, Any] = {
    "epochs": 2,
    "folds": 1,
    "batch_size": 32,
    "learning_rate": 0.05,
    "engine": "plain",
    "confirm": False,
    "progress": False,
}
"""In these steps something is learned: what learns nothing is stopped."""


def build_module_level(widths: Mapping[str, int]) -> nn.Module:
    return nn.Sequential(nn.Linear(4, widths["a"]), nn.ReLU(), nn.Linear(widths["a"], 3))


def closure(activation: Callable[[], nn.Module] = nn.ReLU) -> Callable[..., nn.Module]:
    return lambda widths: nn.Sequential(
        nn.Linear(4, widths["a"]), activation(), nn.Linear(widths["a"], 3)
    )


def search(**changes: Any) -> SearchResult:
    given = {
        "build": closure(),
        "widths": {"a": [2, 4, 8, 16, 32, 64]},
        "data": (FEATURES, CLASSES),
        "limits": {"parameters": 300},
        "trials": 3,
        **SHORT,
    }
    return widthwise.search(**{**given, **changes})


def counts(result: SearchResult) -> SlotCounts:
    with Database.open(resolve_url(result.storage), create=False) as database:
        return LedgerReader(database, load_study(database, result.study)).counts()


def test_the_package_is_the_call() -> None:
    assert callable(widthwise.search)
    assert {"build", "widths", "data", "limits", "trials"} <= {
        *inspect.signature(widthwise.search).parameters
    }


def test_a_closure_and_arrays_are_searched_in_this_process() -> None:
    seen: set[int] = set()
    build = closure()

    def watched(widths: Mapping[str, int]) -> nn.Module:
        seen.add(os.getpid())
        return build(widths)

    result = search(build=watched)
    assert seen == {os.getpid()}
    assert result.complete
    assert len(result.table) == 3
    # The limit is exact: 4a + a + 3a + 3 ≤ 300 leaves 32 and less.
    assert {*result.table["a"]} <= {2, 4, 8, 16, 32}
    assert (result.table["parameters"] == 8 * result.table["a"] + 3).all()
    assert result.widths["a"] in {2, 4, 8, 16, 32}
    assert result.verdict
    assert result.command is None
    assert Path(result.storage.removeprefix("sqlite:///")).is_file()


def test_what_was_given_is_let_go_of_with_the_result() -> None:
    result = search(trials=1)
    database = Path(result.storage.removeprefix("sqlite:///"))
    references = (result.evidence.spec.model.build, result.evidence.spec.proxy.data)
    del result
    assert not database.parent.exists()
    for reference in references:
        with pytest.raises(ImportFailure, match="was an object of the program"):
            load_object(str(reference), Path())


def test_torch_and_the_random_streams_are_as_they_were() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    expected = (torch.rand(1), np.random.rand())
    torch.manual_seed(5)
    np.random.seed(5)
    threads = torch.get_num_threads()
    search(trials=1, threads=threads + 1)
    assert torch.get_num_threads() == threads
    assert (torch.rand(1), np.random.rand()) == expected


def test_the_same_call_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    first = search(storage=storage, name="mine", trials=2)
    more = search(storage=storage, name="mine", trials=3)
    assert counts(more).complete == 3
    assert list(more.table["seed"][:2]) == list(first.table["seed"])
    with pytest.raises(FingerprintMismatch, match=r'model\.build is "python:.*" there'):
        search(storage=storage, name="mine", build=closure(nn.Tanh))
    with pytest.raises(FingerprintMismatch, match=r'proxy\.data is "python:data@'):
        search(storage=storage, name="mine", data=(FEATURES + 1, CLASSES))
    assert counts(more).budget == 3


def test_a_study_that_was_cancelled_says_how_it_is_opened_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: Any = {"storage": f"sqlite:///{tmp_path / 'study.db'}", "name": "mine"}
    search(**given, trials=1)
    with Database.open(resolve_url(given["storage"]), create=False) as database:
        study = load_study(database, "mine")
        set_status(database, study, StudyStatus.CANCELLED, worker="another")
    with pytest.raises(Drained, match="study mine was cancelled; `widthwise continue mine` opens"):
        search(**given, trials=2, progress=True)
    assert (
        "cancelled with 1 of 2 trials done; `widthwise continue mine` opens it again, then "
        '`widthwise.search(…, name="mine", storage=…)` goes on' in capsys.readouterr().err
    )


@pytest.mark.slow
def test_the_command_line_goes_on_where_the_functions_can_be_imported(
    tmp_path: Path, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_model.py").write_text(
        "from torch import nn\n"
        "def build(widths):\n"
        "    return nn.Sequential(nn.Linear(4, widths['a']), nn.ReLU(), nn.Linear(widths['a'], 3))"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import their_model

    result = search(build=their_model.build, data="iris", storage=cli.storage, trials=1, name="m")
    assert result.command is not None
    assert result.command.startswith("widthwise resume m --storage sqlite:///")
    resumed = cli("resume", "m", "--trials", "+1", "--no-confirm")
    assert resumed.code == 0, resumed.err
    assert counts(result).complete == 2


def test_a_study_of_objects_is_refused_elsewhere_in_a_sentence(cli: Any) -> None:
    search(storage=cli.storage, name="mine", trials=1)
    resumed = cli.run_in_process("resume", "mine", "--trials", "+1")
    assert resumed.code == 2
    assert "was an object of the program that called widthwise.search" in resumed.err
    assert "Traceback" not in resumed.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [pytest.param(closure(), id="forks"), pytest.param(build_module_level, id="started anew")],
)
def test_several_workers_share_the_budget_exactly(build: Any, tmp_path: Path) -> None:
    result = search(build=build, workers=2, trials=4, storage=f"sqlite:///{tmp_path / 's.db'}")
    assert counts(result).complete == 4
    assert result.table["a"].is_unique
    workers = {record.worker for record in result.evidence.records}
    assert not any(str(worker).endswith(f":{os.getpid()}") for worker in workers)


def test_a_lambda_under_spawn_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(SpecError, match=r"cannot fork.*define the functions in a module"):
        search(workers=2)


@pytest.mark.slow
def test_ctrl_c_leaves_a_partial_result_and_the_same_call_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = """
    import os, signal, sys
    import widthwise
    from sklearn.datasets import load_iris
    from torch import nn

    FILE = sys.argv[1]
    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))
        def forward(self, x):
            # In the third training: a person stops it.
            if self.training and x.device.type == "cpu" and not os.path.exists(FILE):
                import sqlite3
                try:
                    done = sqlite3.connect(DB).execute(
                        "select count(*) from widthwise_slot where state = 'done'").fetchone()[0]
                except sqlite3.OperationalError:
                    done = 0
                if done >= 2:
                    open(FILE, "w").close()
                    os.kill(os.getpid(), signal.SIGINT)
            return self.layers(x)
    DB = sys.argv[2]
    def build(widths):
        return Net(widths["a"])
    def call():
        return widthwise.search(
            build=build, widths={"a": [2, 4, 8, 16]}, data=load_iris(return_X_y=True), trials=4,
            epochs=2, folds=1, batch_size=32, learning_rate=0.05, engine="plain", at_once=1,
            confirm=False, storage=f"sqlite:///{DB}", name="mine", parametrisation="standard")
    result = call()
    print(result.complete, len(result.table.query("outcome == 'complete'")), bool(result.widths))
    result = call()
    print(result.complete, len(result.table), result.table["a"].is_unique)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), tmp_path / "once", tmp_path / "s.db"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["False 2 True", "True 4 True"]
    assert "interrupted: 2 of 4 trials are complete" in done.stderr


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": None}, r"data is None, expected \(x, y\)"),
        ({"data": 3}, "data is an int, expected"),
        ({"build": 3}, "build is an int, expected a function"),
        ({"build": None, "family": "mpl"}, "mpl"),
        ({"widths": 3}, "widths is an int, expected a mapping"),
        ({"widths": None}, "widths are missing"),
        ({"widths": {"a": []}}, "width 'a' has no choices"),
        ({"limits": 3}, "limits is an int, expected"),
        ({"limits": {"flop": 3}}, "did you mean flops"),
        ({"trials": 0}, r"widthwise\.search: study\.trials: found 0, expected ≥ 1"),
        ({"batchsize": 3}, "no keyword 'batchsize': did you mean 'batch_size'"),
        ({"workers": 0}, "workers: found 0, expected a whole number from 1"),
        ({"workers": "two"}, "workers: found a str"),
        ({"storage": Path("a.db")}, "storage: found a PosixPath, expected the URL"),
        ({"device": "gpu"}, "device: found 'gpu'"),
        ({"metric": 3}, "metric is an int, expected a function"),
        ({"good_enough": 0.9}, "target goes with goal"),
    ],
    ids=str,
)
def test_bad_input_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        search(**changes)


def test_what_can_be_done_is_said_as_python_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    for _ in range(2):
        search(trials=2, storage=storage, name="short", confirm=True, progress=True)
    told = capsys.readouterr().err
    assert "its budget is spent; a larger `trials` adds to it" in told
    assert "not confirmed: 2 of its trainings are complete" in told
    assert "a larger `trials` adds some" in told
    assert "widthwise resume" not in told

    random = np.random.default_rng(0)
    noise = random.normal(size=(300, 4)), random.integers(0, 3, 300)
    with pytest.raises(NothingLearned, match="`untrained_ok=True` goes on all the same"):
        search(data=noise, trials=12, epochs=1, untrained_ok=False, progress=True)
    assert "widthwise resume" not in capsys.readouterr().err


def test_nothing_feasible_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(NothingFeasible):
        search(limits={"parameters": 3})
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_raises_is_recorded_and_the_search_goes_on() -> None:
    class Refuses(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.width = width
            self.layers = closure()({"a": width})

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training and self.width == 8 and x.device.type == "cpu" and not is_fake(x):
                raise RuntimeError("no eight")
            return self.layers(x)

    result = search(
        build=lambda widths: Refuses(widths["a"]),
        trials=6,
        widths={"a": [2, 4, 8, 16, 32, 64]},
        limits=None,
    )
    failed = result.table[result.table["outcome"] == str(TrialOutcome.ERROR)]
    assert list(failed["a"]) == [8]
    assert counts(result).complete == 5


DOCUMENT = Path(widthwise.__file__ or "").with_name("docs") / "python.md"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_blocks_of_the_documentation_run_one_after_the_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.M | re.S)
    assert len(blocks) == 4
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        exec(block, namespace)
    output = capsys.readouterr().out
    assert "hidden1" in output
    result = namespace["result"]
    assert result.complete
    assert result.evidence.follow_ups
    assert {*result.widths} == {"hidden1", "hidden2"}
    assert result.table["parameters"].max() <= 10_000
    assert float((namespace["predicted"].numpy() == namespace["y"]).mean()) > 0.9
    assert namespace["smallest"].verdict == "smallest sufficient"
    assert namespace["model"].score(namespace["x"], namespace["y"]) > 0.8


@pytest.mark.slow
def test_what_is_typed_at_a_prompt_goes_on_in_another_session(tmp_path: Path) -> None:
    typed = textwrap.dedent(
        """
        import widthwise
        from torch import nn
        SIZE = 4
        def head(width):
            return nn.Linear(width, 3)

        def build(widths):
            return nn.Sequential(nn.Linear(SIZE, widths["a"]), nn.ReLU(), head(widths["a"]))

        result = widthwise.search(build=build, widths={"a": [2, 4, 8]}, data="iris", trials=TRIALS,
            epochs=2, folds=1, batch_size=32, learning_rate=0.05, confirm=False, engine="plain",
            storage="sqlite:///prompt.db", name="typed", progress=False)

        print("complete", len(result.table), sorted(result.widths))
        """
    )

    def session(text: str) -> str:
        done = subprocess.run(
            [sys.executable, "-i", "-q"],
            input=text,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout + done.stderr

    assert "complete 1 ['a']" in session(typed.replace("TRIALS", "1"))
    assert "complete 2 ['a']" in session(typed.replace("TRIALS", "2"))
    other = session(
        typed.replace("TRIALS", "2").replace("nn.Linear(width, 3)", "nn.Linear(width, 4)")
    )
    assert "FingerprintMismatch: study typed was started with another spec: model.build is" in other
