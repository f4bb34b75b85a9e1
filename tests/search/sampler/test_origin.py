"""Origins: parsed from what a ledger stores, and what follows from them."""

from __future__ import annotations

import pytest
from widthwise.search.sampler.baselines import LARGEST_FEASIBLE, RULE_OF_THUMB, UNIFORM_SCALING
from widthwise.search.sampler.origin import (
    CONFIRMATION,
    INITIAL_DESIGN,
    SAMPLER,
    Origin,
    OriginKind,
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sampler", OriginKind.SAMPLER),
        ("start-up design", OriginKind.INITIAL_DESIGN),
        ("confirmation", OriginKind.CONFIRMATION),
        (LARGEST_FEASIBLE, OriginKind.BASELINE),
        (f"{UNIFORM_SCALING} = {RULE_OF_THUMB}", OriginKind.BASELINE),
        ("somebody else", OriginKind.UNKNOWN),
        (None, OriginKind.UNKNOWN),
    ],
)
def test_a_stored_text_is_read_back_and_kept(text: str | None, kind: OriginKind) -> None:
    origin = Origin.parse(text)
    assert origin.kind is kind
    assert str(origin) == origin.text == (text or "")


def test_only_what_the_search_chose_may_be_pruned() -> None:
    assert not SAMPLER.never_pruned
    assert not INITIAL_DESIGN.never_pruned
    for origin in (CONFIRMATION, Origin.baseline(RULE_OF_THUMB), Origin.parse(None)):
        assert origin.never_pruned


def test_only_baselines_are_baselines() -> None:
    assert Origin.parse(LARGEST_FEASIBLE).is_baseline
    assert not any(origin.is_baseline for origin in (SAMPLER, INITIAL_DESIGN, CONFIRMATION))
