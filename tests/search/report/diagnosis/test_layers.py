"""A planted bottleneck is named; a balanced network has none; what is too wide may shrink."""

from __future__ import annotations

import json

import numpy as np
from widthwise.search.report.diagnosis.layers import LayersDiagnosis, diagnose_layers
from widthwise.search.report.diagnosis.surface import make_surface
from widthwise.tests.search.report.diagnosis.planted import (
    Planted,
    best_widths,
    make_evidence,
    power_truth,
)

RANGE = {"low": 32, "high": 512, "step": 32}
THREE = {"h1": RANGE, "h2": RANGE, "h3": RANGE}
NARROW_MIDDLE = Planted(
    widths={**THREE, "h2": {"low": 8, "high": 64, "step": 8}},
    truth=power_truth(h1=(0.3, 0.9), h2=(0.8, 0.6), h3=(0.2, 0.9)),
    limits={"parameters": 60_000},
)
BALANCED = Planted(
    widths=THREE,
    truth=power_truth(h1=(0.5, 0.6), h2=(0.5, 0.6), h3=(0.5, 0.6)),
    limits={"parameters": 60_000},
)
SATURATED_LAST = Planted(
    widths={"h1": RANGE, "h2": RANGE},
    truth=lambda w: 0.9 - 0.5 * w["h1"] ** -0.6,
)


def diagnose(planted: Planted, seed: int, **widths: int) -> LayersDiagnosis:
    evidence = planted.evidence(seed)
    surface = make_surface(evidence, widths or best_widths(evidence))
    assert surface is not None
    return diagnose_layers(surface, "parameters", "accuracy")


def bottlenecks(planted: Planted) -> list[str | None]:
    diagnoses = [diagnose(planted, seed) for seed in range(20)]
    return [each.bottleneck.layer.title if each.bottleneck else None for each in diagnoses]


def test_a_planted_bottleneck_is_named() -> None:
    """Of 40 trials each, of noise 0.004 where doubling the bottleneck brings some 0.02."""
    assert bottlenecks(NARROW_MIDDLE).count("h2") >= 19


def test_a_network_in_balance_has_no_bottleneck() -> None:
    assert bottlenecks(BALANCED).count(None) >= 18


def test_luck_alone_makes_no_bottleneck() -> None:
    flat = Planted(widths=THREE, truth=lambda _: 0.9, limits={"parameters": 60_000})
    assert bottlenecks(flat).count(None) >= 19


def test_the_bottleneck_of_an_unbalanced_network_is_named() -> None:
    """Not only at the bound of a range: here the network itself is badly proportioned."""
    named = [diagnose(BALANCED, seed, h1=256, h2=16, h3=256).bottleneck for seed in range(10)]
    assert sum(each is not None and each.layer.title == "h2" for each in named) >= 9


def test_what_a_doubling_brings_is_within_its_interval() -> None:
    held = []
    for seed in range(20):
        start = {"h1": 128, "h2": 96, "h3": 128}
        for layer in diagnose(BALANCED, seed, **start).layers:
            assert layer.doubling is not None
            name = layer.layer.title
            gain = BALANCED.truth({**start, name: layer.doubling.width}) - BALANCED.truth(start)
            held.append(layer.doubling.effect.low <= gain <= layer.doubling.effect.high)
    assert np.mean(held) > 0.75, "intervals of 90 %, 60 of them in 20 studies"


def test_a_layer_that_brings_nothing_could_shrink() -> None:
    found = [diagnose(SATURATED_LAST, seed, h1=256, h2=256) for seed in range(20)]
    shrinks = [[x.layer.title for x in each.layers if x.shrinks_to] for each in found]
    assert sum(names == ["h2"] for names in shrinks) >= 17
    sentence = found[0].shrinking_sentences()[0]
    assert sentence.startswith("h2 could shrink from 256 to ")
    assert "within the noise of one training" in sentence


def test_a_layer_at_the_top_has_no_doubling() -> None:
    found = diagnose(NARROW_MIDDLE, 0)
    assert found.bottleneck is not None
    assert found.bottleneck.width == 64
    assert found.bottleneck.step is found.bottleneck.doubling is None
    assert found.bottleneck.rate is not None
    assert "It stands at the top of its range." in found.bottleneck_sentence()


def test_without_costs_layers_are_compared_by_their_widths() -> None:
    evidence = NARROW_MIDDLE.evidence(0)
    blind = make_evidence(evidence.spec, evidence.records, None)
    surface = make_surface(blind, best_widths(evidence))
    assert surface is not None
    found = diagnose_layers(surface, "parameters", "accuracy")
    assert found.cost is None
    assert found.bottleneck is not None
    assert found.bottleneck.layer.title == "h2"
    assert "a tenth more width" in found.bottleneck_sentence().lower()


def test_json_is_plain_and_names_every_layer() -> None:
    values = diagnose(BALANCED, 0).to_json()
    assert values == json.loads(json.dumps(values, allow_nan=False))
    assert [layer["names"] for layer in values["layers"]] == [["h1"], ["h2"], ["h3"]]


def test_of_an_absent_layer_nothing_is_claimed() -> None:
    """Here it would help, by much: that it is absent says nothing of what it is worth."""
    planted = Planted(
        widths={"h1": RANGE, "h2": {**RANGE, "optional": True}},
        truth=lambda w: 0.9 if w["h2"] else 0.5,
    )
    sentences = diagnose(planted, 0, h1=128, h2=0).sentences()
    assert [each for each in sentences if each.startswith("h2")] == ["h2 is absent (0)."]
