"""Who is confirmed, under which names."""

from types import SimpleNamespace
from typing import Any

from widthwise.search.report.confirmation.contender import SPREAD, choose_contenders
from widthwise.tests.search.report.confirmation.confirmation_inputs import contender, evidence


def candidate(width: int, **costs: float) -> Any:
    return SimpleNamespace(widths={"hidden": width}, costs={"flops": 100.0 * width, **costs})


def answer(**parts: Any) -> Any:
    usual = {
        "recommended": candidate(40),
        "runner_up": candidate(60),
        "knee": None,
        "baselines": {"largest that fits": candidate(100), "rule of thumb": candidate(10)},
    }
    return SimpleNamespace(**{**usual, **parts})


def labels(chosen: Any) -> list[list[str]]:
    return [list(item.labels) for item in chosen]


def test_recommended_runner_up_and_baselines():
    assert labels(choose_contenders(evidence(), answer())) == [
        ["recommended"],
        ["runner-up"],
        ["largest that fits"],
        ["rule of thumb"],
    ]


def test_the_same_network_is_trained_once_under_all_its_names():
    chosen = choose_contenders(
        evidence(), answer(recommended=candidate(100), knee=candidate(60), runner_up=None)
    )
    assert labels(chosen) == [
        ["recommended", "largest that fits"],
        ["knee of the front"],
        ["rule of thumb"],
    ]
    assert chosen[0].is_baseline
    assert not chosen[0].is_challenger
    assert chosen[0].baseline_name == "largest that fits"
    assert chosen[1].is_challenger


def test_what_breaks_a_limit_is_never_confirmed():
    study = evidence()
    study.spec.limits = SimpleNamespace(bounds={"flops": 12_000})
    baselines = {"today": candidate(150), "largest that fits": candidate(100)}
    chosen = choose_contenders(study, answer(baselines=baselines))
    assert ["today"] not in labels(chosen)
    assert ["largest that fits"] in labels(chosen)


def test_spread_out_candidates_go_from_the_worst_to_the_best():
    trials = [
        SimpleNamespace(widths={"hidden": 200 + n}, costs={}, value=n / 100) for n in range(12)
    ]
    chosen = choose_contenders(evidence(trials=trials), answer(), spread=3)
    spread = [item for item in chosen if item.label == SPREAD]
    assert [item.widths["hidden"] for item in spread] == [202, 206, 210]
    assert not any(item.is_challenger or item.is_baseline for item in spread)


def test_no_more_are_spread_out_than_there_are():
    trials = [SimpleNamespace(widths={"hidden": 40}, costs={}, value=0.9)]
    assert len(choose_contenders(evidence(trials=trials), answer(), spread=5)) == 4


def test_a_title_has_all_names():
    assert contender("recommended", 8, "rule of thumb").title == "the search's pick, rule of thumb"
    assert contender("recommended", 8).description == "the search's pick (hidden=8)"
    assert contender("runner-up", 8).description == "the runner-up (hidden=8)"
