"""How a trial ended, for whoever tells it to people.

Entry point: `Outcome`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended.

    Attributes:
        number: Its slot.
        kind: complete, pruned, infeasible, nan, out_of_memory or error; retry (it failed and is
            tried again), returned (given back, nothing charged) or lost (to another worker).
        value: The metric of a complete one.
        detail: What went wrong.
    """

    number: int
    kind: str
    value: float | None = None
    detail: str | None = None
