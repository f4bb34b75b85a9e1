"""Rules by the sizes of a task: its inputs, its outputs, its samples.

Entry point: `size_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...objectives.model.family_registry import pyramid
from .inquiry import Inquiry, Kind, Task
from .parameter_count import count_parameters, width_of_parameters
from .rule import FIRST_BLOCK, RuleRange

_SARLE = (
    "Sarle, the FAQ of comp.ai.neural-nets, part 3 (2002), calls rules by inputs and outputs "
    "nonsense: they know neither the samples, nor the noise, nor how complex the task is"
)
_NO_SOURCE = "practice; no primary source is known"


def size_rules(inquiry: Inquiry) -> Iterator[RuleRange]:
    """Yield the rules that compute a width from the task's sizes."""
    dense = inquiry.kind is Kind.MLP
    yield _input_rule(inquiry, applies=dense)
    yield _output_rule(inquiry)
    if dense:
        yield _between_rule(inquiry)
    yield _samples_rule(inquiry, applies=dense)
    yield _parameters_rule(inquiry)


def _input_rule(inquiry: Inquiry, *, applies: bool) -> RuleRange:
    inputs = inquiry.step_features if inquiry.kind is Kind.LSTM else inquiry.inputs
    return RuleRange(
        rule="input size × 1–3",
        formula=f"1 × {inputs:,} to 3 × {inputs:,}",
        low=inputs,
        high=3 * inputs,
        unit=Kind.MLP.unit,
        source="practice; in print nearest: Hecht-Nielsen, Kolmogorov's Mapping Neural Network "
        "Existence Theorem (1987), 2n + 1; Berry and Linoff, Data Mining Techniques (1997), never "
        "more than 2n; Heaton, Introduction to Neural Networks for Java (2008), less than 2n",
        applies_to="dense layers on a table's columns",
        caveat=_SARLE,
        applies=applies and inquiry.task is not Task.IMAGE,
    )


def _output_rule(inquiry: Inquiry) -> RuleRange:
    outputs = inquiry.outputs
    return RuleRange(
        rule="output size × 2–10",
        formula=f"2 × {outputs:,} to 10 × {outputs:,}",
        low=2 * outputs,
        high=10 * outputs,
        unit=inquiry.kind.unit,
        source=f"{_NO_SOURCE}; what stands behind it: a last layer narrower than outputs − 1 "
        "bounds the rank of the logits (Yang et al., Breaking the Softmax Bottleneck, 2018)",
        applies_to="the last hidden layer of any network",
        caveat="two classes may take a thousand neurons to tell apart; for tokens it exceeds every "
        "published width",
        applies=not inquiry.predicts_tokens,
    )


def _between_rule(inquiry: Inquiry) -> RuleRange:
    inputs, outputs = inquiry.inputs, inquiry.outputs
    two_thirds = max(1, round((inputs + outputs) * 2 / 3))
    ends = sorted((inputs, outputs))
    return RuleRange(
        rule="between inputs and outputs",
        formula=f"{ends[0]:,} to {ends[1]:,}; two thirds of the sum: {two_thirds:,}",
        low=ends[0],
        high=ends[1],
        unit=inquiry.kind.unit,
        source="Blum, Neural Networks in C++ (1992), p. 60; two thirds: Heaton (2008)",
        applies_to="dense layers on a table's columns",
        caveat=_SARLE,
    )


def _samples_rule(inquiry: Inquiry, *, applies: bool) -> RuleRange:
    most = max(1, inquiry.samples // 100)
    return RuleRange(
        rule="samples / 100",
        formula=f"{inquiry.samples:,} / 100",
        low=1,
        high=most,
        unit=Kind.MLP.unit,
        source=_NO_SOURCE,
        applies_to="dense layers, as a bound from above",
        caveat="knows neither the inputs nor the noise; early stopping and weight decay move it",
        applies=applies,
    )


def _parameters_rule(inquiry: Inquiry) -> RuleRange:
    few, many = inquiry.samples / 100, inquiry.samples / 10
    low, high = width_of_parameters(inquiry, few), width_of_parameters(inquiry, many)
    smallest = count_parameters(inquiry, 1)
    caveat = (
        "networks of today generalise with more parameters than samples: Zhang et al., "
        "Understanding deep learning requires rethinking generalization (2017)"
    )
    if not high:
        caveat = (
            f"no width obeys it: a single unit a layer has {smallest:,} parameters already, "
            f"samples / 10 is {many:,.0f}; {caveat}"
        )
    elif not low:
        caveat = (
            f"no width has as few as samples / 100 = {few:,.0f} parameters: a single unit a layer "
            f"has {smallest:,}; {caveat}"
        )
    return RuleRange(
        rule="samples ≥ 10–100 × parameters",
        formula=f"{few:,.0f} to {many:,.0f} parameters, so a width of {max(low, 1):,} to "
        f"{max(high, 1):,} with {inquiry.layers} layers",
        low=max(low, 1),
        high=max(high, 1),
        unit=_first(inquiry),
        source="10: Baum and Haussler, What Size Net Gives Valid Generalization? (1989): samples "
        "of the order of W/ε, here ε = 10 %; 100: the same with ε = 1 %",
        applies_to="any network trained from the beginning, as a bound from above",
        caveat=caveat,
    )


def pyramid_rule(inquiry: Inquiry) -> RuleRange:
    """Return the rule that dense heads fall from the inputs to the outputs."""
    widths = [max(1, round(w)) for w in pyramid(inquiry.inputs, inquiry.outputs, inquiry.layers)]
    return RuleRange(
        rule="dense layers fall (geometric pyramid)",
        formula="n (m/n)^(i/(k+1)) for layer i of k",
        low=min(widths),
        high=max(widths),
        unit=inquiry.kind.unit,
        source="Masters, Practical Neural Network Recipes in C++ (1993)",
        applies_to="dense layers and heads",
        caveat="says nothing of the samples; with many inputs and few outputs the last is tiny",
        widths=widths,
    )


def _first(inquiry: Inquiry) -> str:
    """Return what the width of a network counts whose layers follow from the first."""
    return FIRST_BLOCK if inquiry.kind is Kind.CNN else inquiry.kind.unit
