"""The journal of a training: what it reported, in a file that outlives its process.

A line of JSON for each report; the first says which training it is of. A training that goes on in
another process goes on with the curve: what it reports again takes the place of what was there from
that step on. A line that was cut off by a kill is left out.

Entry point: `Journal`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

_log = logging.getLogger(__name__)


@final
class Journal:
    """The reports of one training.

    Attributes:
        curve: (step, value) of each report, by step.
        logged: Other values by name, the last of each.
        pruned_at: The rung (a step) at which the training fell behind; None if it did not.
        is_resumed: Whether an earlier process began it.
        seconds: How long it had been trained for when it last reported.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Read what earlier processes wrote, if it is of this training; begin anew otherwise.

        Args:
            path: Of the file, whose folder is there.
            identity: Of the training, as JSON has it.
        """
        self.curve: list[tuple[float, float]] = []
        self.logged: dict[str, float] = {}
        self.pruned_at: float | None = None
        self.seconds = 0.0
        self.is_resumed = False
        self._path, self._write_failing = path, False
        first, *lines = self._read_lines() or [None]
        if first == {"training": identity}:
            self.is_resumed = True
            for line in lines:
                self._apply(line)
        # Written anew: the line that a kill cut off would spoil the next one.
        self._write("w", {"training": identity}, *self._state())

    def report(self, step: float, value: float, seconds: float) -> None:
        """Keep a value of the metric, in place of those of this step and later ones."""
        self._keep({"step": step, "value": value, "seconds": round(seconds, 3)})

    def log(self, values: Mapping[str, float]) -> None:
        """Keep other values."""
        self._keep({"logged": dict(values)})

    def prune(self, rung: float) -> None:
        """Keep that the training fell behind at a rung."""
        self._keep({"pruned": rung})

    def _keep(self, line: dict[str, Any]) -> None:
        self._apply(line)
        self._write("a", line)

    def _apply(self, line: Mapping[str, Any]) -> None:
        if "step" in line:
            step = float(line["step"])
            while self.curve and self.curve[-1][0] >= step:
                self.curve.pop()
            self.curve.append((step, float(line["value"])))
            self.seconds = float(line["seconds"])
        elif "pruned" in line:
            self.pruned_at = float(line["pruned"])
        else:
            self.logged.update({str(k): float(v) for k, v in line["logged"].items()})

    def _state(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = [
            {"step": step, "value": value, "seconds": self.seconds} for step, value in self.curve
        ]
        if self.logged:
            lines.append({"logged": self.logged})
        if self.pruned_at is not None:
            lines.append({"pruned": self.pruned_at})
        return lines

    def _read_lines(self) -> list[Any]:
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return []
        lines = []
        for line in text.splitlines():
            try:
                given = json.loads(line)
            except ValueError:
                break
            if not isinstance(given, dict):
                break
            lines.append(given)
        return lines

    def _write(self, mode: str, *lines: Mapping[str, Any]) -> None:
        """Write lines; where they cannot be, the training goes on without."""
        try:
            if mode == "w":
                # Replaced at once: a kill in between leaves the old one.
                new = self._path.with_suffix(".new")
                new.write_text("".join(map(_as_line, lines)), encoding="utf-8")
                new.replace(self._path)
            else:
                with self._path.open(mode, encoding="utf-8") as file:
                    file.write("".join(map(_as_line, lines)))
        except OSError as error:
            if not self._write_failing:
                _log.warning(
                    "the reports of a training cannot be written to %s (%s): it goes on, and its "
                    "curve begins anew if it is interrupted",
                    self._path,
                    error,
                )
            self._write_failing = True


def _as_line(line: Mapping[str, Any]) -> str:
    return json.dumps(line) + "\n"
