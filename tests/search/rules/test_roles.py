"""Roles: how widths follow each other in each kind of network."""

from __future__ import annotations

from widthwise.search.rules.roles import role_rule

from .asked import ask


def test_dense_layers_fall() -> None:
    widths = list(role_rule(ask(layers=4)).widths)
    assert widths == sorted(widths, reverse=True)


def test_channels_rise_to_512() -> None:
    rule = role_rule(ask("image", "3x32x32", layers=6))
    assert list(rule.widths) == [64, 128, 256, 512, 512, 512]


def test_encoder_layers_are_equal() -> None:
    rule = role_rule(ask("language", "128"))
    assert (rule.rule, rule.low, rule.high) == ("encoder layers are equal", 256, 1024)
    assert role_rule(ask("series", "96")).rule == "stacked layers are equal"
