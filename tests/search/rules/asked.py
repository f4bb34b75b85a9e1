"""Inquiries for tests."""

from __future__ import annotations

from typing import Any

from widthwise.search.rules.inquiry import Inquiry


def ask(task: str = "classification", inputs: str = "300", **others: Any) -> Inquiry:
    """The inquiry of the documentation's example, changed."""
    return Inquiry.make(
        **{"kind": None, "outputs": 2, "samples": 10_000, "task": task, "inputs": inputs, **others}
    )
