"""The inquiry: what is to be learnt, by which kind of network, from how much.

Entry points: `Inquiry`, whose `make` reads what a person gives; `Task`, `Kind`.
"""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ...objectives.errors import did_you_mean
from ..errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NUMBER = 10**12
"""The largest count of inputs, outputs or samples; above it a count is a slip of the finger."""
MAX_LAYERS = 200
DEFAULT_VOCABULARY = 30_000
"""Tokens known to a language model where nobody says: BERT's has 30,522 (Devlin et al., 2019)."""
MIN_VOCABULARY = 5_000
"""Outputs from which a language task is taken for one that predicts tokens, not classes."""
SPEECH_FEATURES = 80
"""Features of a frame of speech: log-mel energies, as in Radford et al., "Whisper" (2022)."""
Word = TypeVar("Word", bound=enum.StrEnum)

_LONG_SIDE = 128  # pixels: from here on patches of 16, as ViT has them (Dosovitskiy et al., 2021)


class Task(enum.StrEnum):
    """What is to be learnt.

    Attributes:
        CLASSIFICATION: Classes, from a table's columns.
        REGRESSION: Quantities, from a table's columns.
        IMAGE: Classes of images.
        LANGUAGE: Classes of texts, or the next token.
        SPEECH: Classes of recordings, as frames of features.
        SERIES: Classes or quantities, from the steps of a series.
    """

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    IMAGE = "image"
    LANGUAGE = "language"
    SPEECH = "speech"
    SERIES = "series"


class Kind(enum.StrEnum):
    """Which kind of network: perceptron, convolutional network, transformer encoder, LSTM."""

    MLP = "mlp"
    CNN = "cnn"
    TRANSFORMER = "transformer"
    LSTM = "lstm"

    @property
    def unit(self) -> str:
        """What a width counts."""
        return _UNITS[self]


_UNITS: Mapping[Kind, str] = {
    Kind.MLP: "neurons a layer",
    Kind.CNN: "channels a layer",
    Kind.TRANSFORMER: "model width (d_model)",
    Kind.LSTM: "hidden units a layer",
}

_KINDS: Mapping[Task, tuple[Kind, ...]] = {
    Task.CLASSIFICATION: (Kind.MLP,),
    Task.REGRESSION: (Kind.MLP,),
    Task.IMAGE: (Kind.CNN, Kind.TRANSFORMER, Kind.MLP),
    Task.LANGUAGE: (Kind.TRANSFORMER, Kind.LSTM),
    Task.SPEECH: (Kind.TRANSFORMER, Kind.LSTM),
    Task.SERIES: (Kind.LSTM, Kind.TRANSFORMER, Kind.MLP),
}
"""The kinds that are usual for a task, the usual one first."""

_DEFAULT_LAYERS: Mapping[Kind, int] = {Kind.MLP: 2, Kind.CNN: 4, Kind.TRANSFORMER: 6, Kind.LSTM: 2}


@dataclass(frozen=True, kw_only=True)
class Inquiry:
    """Sizes that rules of thumb are asked about.

    Attributes:
        task: What is to be learnt.
        kind: Which kind of network.
        input_shape: Of one sample: columns; channels, height and width; or steps and features.
        outputs: Classes, quantities, or tokens.
        samples: Rows to train on.
        layers: Hidden layers, blocks or encoder layers.
        batch_size: Samples in a training step.
        memory: Bytes of the GPU; None where nobody says.
        vocabulary: Tokens that are known, for a language task; None for any other.
    """

    task: Task
    kind: Kind
    input_shape: tuple[int, ...]
    outputs: int
    samples: int
    layers: int
    batch_size: int
    memory: int | None = None
    vocabulary: int | None = None

    @classmethod
    def make(
        cls,
        *,
        task: str,
        kind: str | None,
        inputs: str,
        outputs: int,
        samples: int,
        layers: int | None = None,
        batch_size: int = 64,
        memory: int | None = None,
        vocabulary: int | None = None,
    ) -> Inquiry:
        """Return the inquiry that a person's words and numbers make.

        Raises:
            SpecError: A word that is none, or numbers that do not go together.
        """
        known_task = _choose("--task", task, Task)
        kinds = _KINDS[known_task]
        known_kind = kinds[0] if kind is None else _choose("--kind", kind, Kind)
        if known_kind not in kinds:
            raise SpecError(
                f"--kind {known_kind}: no rule is known of it for the task {known_task}; "
                f"expected {' or '.join(kinds)}"
            )
        for flag, number in (("--outputs", outputs), ("--samples", samples)):
            if not 1 <= number <= MAX_NUMBER:
                raise SpecError(
                    f"{flag}: found {number}, expected a whole number from 1 to {MAX_NUMBER:,}"
                )
        if layers is not None and not 1 <= layers <= MAX_LAYERS:
            raise SpecError(
                f"--layers: found {layers}, expected a whole number from 1 to {MAX_LAYERS}"
            )
        if known_task is not Task.LANGUAGE and vocabulary is not None:
            raise SpecError("--vocabulary goes with --task language: leave it out")
        _check_outputs(known_task, outputs, samples)
        if known_task is Task.LANGUAGE and vocabulary is None:
            vocabulary = outputs if outputs >= MIN_VOCABULARY else DEFAULT_VOCABULARY
        return cls(
            task=known_task,
            kind=known_kind,
            input_shape=_read_shape(inputs, known_task),
            outputs=outputs,
            samples=samples,
            layers=layers or _DEFAULT_LAYERS[known_kind],
            batch_size=min(batch_size, samples),
            memory=memory,
            vocabulary=vocabulary,
        )

    @property
    def inputs(self) -> int:
        """Numbers in a sample."""
        return math.prod(self.input_shape)

    @property
    def predicts_tokens(self) -> bool:
        """Whether every token has an output: a language model rather than a classifier."""
        return self.vocabulary is not None and self.outputs == self.vocabulary

    @property
    def patch(self) -> int:
        """Pixels on a side of a transformer's patches; 1 where there are no images."""
        if self.task is not Task.IMAGE:
            return 1
        side = min(self.input_shape[1:])
        return math.gcd(16 if side >= _LONG_SIDE else 4, *self.input_shape[1:])

    @property
    def steps(self) -> int:
        """Tokens, frames, steps or patches of a sample."""
        if self.task is Task.IMAGE:
            return math.prod(self.input_shape[1:]) // self.patch**2
        return self.input_shape[0]

    @property
    def step_features(self) -> int:
        """Numbers in a step; 1 for a token."""
        if self.task is Task.IMAGE:
            return self.input_shape[0] * self.patch**2
        return self.input_shape[1] if len(self.input_shape) > 1 else 1

    def describe(self) -> str:
        """Return the sizes in words."""
        shape = " × ".join(f"{size:,}" for size in self.input_shape)
        tokens = "" if self.vocabulary is None else f", {self.vocabulary:,} tokens known"
        return (
            f"{self.task} by {_ARTICLES[self.kind]} of {self.layers} layers: inputs {shape}, "
            f"outputs {self.outputs:,}, samples {self.samples:,}{tokens}"
        )


_ARTICLES: Mapping[Kind, str] = {
    Kind.MLP: "a perceptron (mlp)",
    Kind.CNN: "a convolutional network (cnn)",
    Kind.TRANSFORMER: "a transformer encoder",
    Kind.LSTM: "an LSTM",
}


def _choose(flag: str, text: str, words: type[Word]) -> Word:
    known = [str(word) for word in words]
    word = text.strip().lower()
    if word not in known:
        hint = did_you_mean(word, known)
        raise SpecError(
            f'{flag}: found "{text[:60]}", expected one of {", ".join(known)}'
            f"{'; ' + hint if hint else ''}"
        )
    return words(word)


def _check_outputs(task: Task, outputs: int, samples: int) -> None:
    """Check that there may be a sample of each class."""
    if task in (Task.CLASSIFICATION, Task.IMAGE):
        if outputs < 2:
            raise SpecError(
                f"--outputs: found {outputs} for {task}, expected at least 2 classes; a quantity "
                "is --task regression"
            )
        if outputs > samples:
            raise SpecError(
                f"--outputs: found {outputs:,} classes and {samples:,} samples, expected a sample "
                "of each class at least; give more samples, or fewer classes"
            )


def _read_shape(text: str, task: Task) -> tuple[int, ...]:
    """Return the shape of a sample: "300", "3x32x32" or "96x8"."""
    expected = {
        Task.IMAGE: "channels, height and width such as 3x32x32",
        Task.LANGUAGE: "the tokens of a sample such as 128",
        Task.SPEECH: "frames, or frames and features, such as 500x80",
        Task.SERIES: "steps, or steps and features, such as 96x8",
    }.get(task, "the columns, such as 300")
    parts = re.split(r"[x×]", text.strip().lower())
    sizes = tuple(int(part) for part in parts if re.fullmatch(r"[0-9]{1,13}", part))
    ranks = {Task.IMAGE: (3,), Task.SPEECH: (1, 2), Task.SERIES: (1, 2)}.get(task, (1,))
    in_range = all(size >= 1 for size in sizes) and math.prod(sizes) <= MAX_NUMBER
    if len(sizes) != len(parts) or len(sizes) not in ranks or not in_range:
        raise SpecError(
            f'--inputs: found "{text[:60]}" for --task {task}, expected {expected}, each at least '
            f"1 and {MAX_NUMBER:,} in all"
        )
    if task is Task.SPEECH and len(sizes) == 1:
        return (sizes[0], SPEECH_FEATURES)
    if task is Task.SERIES and len(sizes) == 1:
        return (sizes[0], 1)
    return sizes
