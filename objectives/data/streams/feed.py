"""Feeds: what yields the batches of a split as the user's code makes them, from any position.

    MapFeed        a data set of numbered samples: starting within an epoch loads nothing before
    StreamFeed     a data set that is only iterated: what comes before a position is drawn again
    LoaderFeed     a loader of another kind, iterated as it is

A map-style split is shuffled anew in each epoch. A stream's order is its own: with a length, an
epoch is one pass; without, epochs of so many steps go on where the one before ended, and a stream
that ends begins anew.

Entry points: the three feeds; `Feed`, their protocol.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, final

import torch

from ...errors import DataError
from ...randomness import Randomness
from .loader_settings import LoaderSettings, Requests, loaded_batches
from .loading import (
    BatchDataset,
    BatchStream,
    LoadFailure,
    raise_failure,
    seed_generators,
    seeded_draws,
    stream_seed,
)

_ORDER, _LOADING, _PASS = 1, 2, 3  # kinds of streams that a seed has

_MOST_KEYS = 1_000_000
"""Keys after which a sampler counts as endless; of more than a thousand samples a thousand each."""

_CPU = torch.device("cpu")


class Feed(Protocol):
    """The raw batches of a split.

    Attributes:
        steps: Batches in an epoch; the most, where a stream does not say.
        rows: Samples in an epoch; None where nobody says.
        may_end_early: Whether fewer batches than `steps` are no mistake.
        continues: Whether `open`'s iterator goes on with the next epoch.
    """

    steps: int
    rows: int | None
    may_end_early: bool
    continues: bool

    def open(self, seed: int, epoch: int, start: int) -> Iterator[Any]:
        """Return an iterator over what comes from a position on; closing it ends its workers."""

    def open_again(self) -> Iterator[Any]:
        """Return an iterator over the first batch once more, in a process that has loaded it."""

    def close(self) -> None:
        """End workers that stand by."""


@final
class MapFeed:
    """A data set of numbered samples."""

    may_end_early = continues = False

    def __init__(self, dataset: Any, settings: LoaderSettings, *, shuffled: bool) -> None:
        """Take a data set.

        Args:
            dataset: With `__getitem__` and `__len__`.
            settings: How it is loaded.
            shuffled: Whether each epoch has an order of its own: that of the training split.
        """
        self._dataset, self._settings, self._shuffled = dataset, settings, shuffled
        self._idle: tuple[Any, Requests] | None = None
        self._single = settings.batch_size is None and settings.batch_sampler is None
        if settings.sampler is None and settings.batch_sampler is None:
            self.rows: int | None = None if self._single else len(dataset)
            self.steps = _batch_count(len(dataset), settings, shuffled=shuffled)
        else:
            order = self._user_order(0, 0)
            self.steps = len(order)
            self.rows = None if self._single else sum(map(len, order))

    def open(self, seed: int, epoch: int, start: int) -> Iterator[Any]:
        """Yield the batches of an epoch from a position on."""
        own_seed = stream_seed(seed, _LOADING, epoch)
        if self._idle is None:
            requests = Requests()
            wrapped = BatchDataset(self._dataset, self._settings.collate)
            loader = self._settings.make(wrapped, requests, own_seed)
        else:
            loader, requests = self._idle
            self._idle = None
        requests.keys, requests.start = self._order(seed, epoch), start
        requests.seeds = lambda position: stream_seed(seed, _LOADING, epoch, position)
        requests.single = self._single
        yield from loaded_batches(loader)
        if self._settings.persistent:
            self._idle = loader, requests

    def open_again(self) -> Iterator[Any]:
        """Yield the first batch as a worker loads it the second time; without workers, once."""
        if not self._settings.workers:
            yield from self.open(0, 0, 0)
            return
        settings, requests = replace(self._settings, workers=1), Requests()
        loader = settings.make(BatchDataset(self._dataset, settings.collate), requests, seed=0)
        requests.keys, requests.single = [self._order(0, 0)[0]] * 2, self._single
        requests.seeds = lambda _: stream_seed(0, _LOADING, 0, 0)
        batches = loaded_batches(loader)
        next(batches)
        yield from batches

    def close(self) -> None:
        """End workers that stand by."""
        self._idle = None

    def _order(self, seed: int, epoch: int) -> Sequence[Any]:
        """Return the keys of each batch of an epoch."""
        if self._settings.sampler is not None or self._settings.batch_sampler is not None:
            return self._user_epoch(seed, epoch)
        rows = len(self._dataset)
        if self._shuffled:
            generator = torch.Generator().manual_seed(stream_seed(seed, _ORDER, epoch))
            order = torch.randperm(rows, generator=generator)
        else:
            order = torch.arange(rows)
        if self._single:
            return list(order.tolist())
        assert self._settings.batch_size is not None
        return torch.split(order, self._settings.batch_size)[: self.steps]

    def _user_epoch(self, seed: int, epoch: int) -> list[Any]:
        """Return the keys of an epoch's batches: where an order is shorter, of the next one, too.

        A sampler that puts samples of equal length together may have another number of batches in
        each epoch; every epoch has as many as the first.
        """
        keys = self._user_order(seed, epoch)
        for number in range(1, self.steps):
            if len(keys) >= self.steps or not self._shuffled:
                break
            keys += self._user_order(stream_seed(seed, _ORDER, number), epoch)
        return keys[: self.steps]

    def _user_order(self, seed: int, epoch: int) -> list[Any]:
        """Return the keys that the user's own sampler gives, its draws from the seed."""
        sampler, settings = self._settings.sampler, self._settings
        own = settings.batch_sampler if settings.batch_sampler is not None else sampler
        with seeded_draws(own, stream_seed(seed, _ORDER, epoch), epoch):
            keys = self._finite(own)
        if settings.batch_sampler is not None or self._single:
            return keys
        assert settings.batch_size is not None
        size = settings.batch_size
        chunks = [keys[start : start + size] for start in range(0, len(keys), size)]
        if chunks and len(chunks[-1]) < size and settings.drop_last:
            chunks.pop()
        return chunks

    def _finite(self, own: Any) -> list[Any]:
        """Return all that a sampler gives.

        Raises:
            DataError: It goes on and on.
        """
        most, kind = max(_MOST_KEYS, 1_000 * len(self._dataset)), type(own).__name__
        keys, samples = [], 0
        for key in own:
            samples += 1 if self._settings.batch_sampler is None else len(key)
            if samples > most:
                raise DataError(
                    f"its {kind} gives more than {most:,} keys, and no end: let it end where an "
                    "epoch does."
                )
            keys.append(key)
        return keys


@final
class StreamFeed:
    """A data set that is only iterated."""

    def __init__(
        self,
        dataset: Any,
        settings: LoaderSettings,
        *,
        pass_steps: int | None,
        division: str,
        steps: int,
        rows: int | None,
        repeated: bool,
    ) -> None:
        """Take a data set.

        Args:
            dataset: With `__iter__`.
            settings: How it is loaded.
            pass_steps: Batches until it ends; None where it does not say.
            division: How its samples come to batches, for people; "" where one process makes them.
            steps: Batches in an epoch.
            rows: Samples in an epoch; None where it does not say.
            repeated: Whether it begins anew where it ends: the training split.
        """
        self._dataset, self._settings, self._repeated = dataset, settings, repeated
        self._pass_steps, self._division = pass_steps, division
        self.steps, self.rows = steps, rows
        self.may_end_early = pass_steps is None and not repeated
        self.continues = repeated

    def open(self, seed: int, epoch: int, start: int) -> Iterator[Any]:
        """Yield batches from a position on: of a training split without end."""
        position = (epoch * self.steps if self._repeated else 0) + start
        return _repeated_passes(
            lambda number: self._pass(stream_seed(seed, _PASS, number)),
            position,
            self._pass_steps,
            repeated=self._repeated,
            division=self._division,
        )

    def _pass(self, seed: int) -> Iterator[Any]:
        settings = self._settings
        stream = BatchStream(
            self._dataset,
            settings.collate,
            settings.batch_size,
            drop_last=settings.drop_last,
            seed=seed,
        )
        yield from loaded_batches(settings.make(stream, None, seed))

    def open_again(self) -> Iterator[Any]:
        """Begin anew."""
        return self.open(0, 0, 0)

    def close(self) -> None:
        """End nothing: no worker outlives its iterator."""


@final
class LoaderFeed:
    """A loader of another kind, iterated as it is."""

    def __init__(self, loader: Any, *, pass_steps: int | None, steps: int, repeated: bool) -> None:
        """Take a loader.

        Args:
            loader: With an `__iter__` that begins anew.
            pass_steps: Its length; None where it has none.
            steps: Batches in an epoch.
            repeated: Whether it begins anew where it ends: the training split.
        """
        self._loader, self._repeated, self._pass_steps = loader, repeated, pass_steps
        self.steps = steps
        self.rows: int | None = None
        self.may_end_early = pass_steps is None and not repeated
        self.continues = repeated

    def open(self, seed: int, epoch: int, start: int) -> Iterator[Any]:
        """Yield batches from a position on: of a training split without end."""
        position = (epoch * self.steps if self._repeated else 0) + start
        return _repeated_passes(
            lambda number: self._pass(stream_seed(seed, _PASS, number), number),
            position,
            self._pass_steps,
            repeated=self._repeated,
        )

    def _pass(self, seed: int, number: int) -> Iterator[Any]:
        randomness = Randomness(seed, _CPU)
        seed_generators(self._loader, seed, number)
        with randomness:
            batches = iter(self._loader)
        while True:
            try:
                with randomness:
                    batch = next(batches)
            except StopIteration:
                return
            yield batch

    def open_again(self) -> Iterator[Any]:
        """Begin anew."""
        return self.open(0, 0, 0)

    def close(self) -> None:
        """End nothing: what the loader keeps is its own."""


def _repeated_passes(
    open_pass: Any,
    position: int,
    pass_steps: int | None,
    *,
    repeated: bool,
    division: str | None = None,
) -> Iterator[Any]:
    """Yield the batches of pass after pass from a position on.

    Args:
        open_pass: From the number of a pass to its iterator.
        position: Batches to leave out; whole passes of known length are not drawn.
        pass_steps: Batches in a pass, where that is known.
        repeated: Whether another pass follows.
        division: How its samples come to the batches of a pass, for people; "" where one process
            makes them; None where a pass is over after them, whatever comes.

    Raises:
        DataError: A pass ends before it said, goes on after it, or has no batch.
    """
    number, skipped = (0, position) if pass_steps is None else divmod(position, pass_steps)
    while True:
        count = 0
        batches = open_pass(number)
        try:
            for batch in batches:
                count += 1
                if division is not None and count == pass_steps:
                    # Before the last one is trained on: what is too many would never be.
                    _require_end(batch, batches, pass_steps, division)
                if skipped:
                    skipped -= 1
                else:
                    yield batch
                if count == pass_steps:
                    break
        finally:
            batches.close()
        if count == 0:
            raise DataError("it is empty: give it samples.")
        if pass_steps is not None and count < pass_steps:
            raise DataError(_describe_claim(pass_steps, division, f"ended after {count:,}"))
        if not repeated:
            return
        number += 1


def _require_end(last: Any, batches: Iterator[Any], pass_steps: int, division: str) -> None:
    if isinstance(last, LoadFailure):
        return
    for extra in batches:
        if isinstance(extra, LoadFailure):
            raise_failure(extra, "after its last batch")
        raise DataError(_describe_claim(pass_steps, division, "goes on after them"))


def _describe_claim(pass_steps: int, division: str | None, fact: str) -> str:
    """Return what a pass says of its length, what is the case, and what to do."""
    plural = "" if pass_steps == 1 else "es"
    advice = "divide it evenly among them by get_worker_info(), or " if division else ""
    return (
        f"it says that it has {pass_steps:,} batch{plural}{division or ''}, and {fact}: "
        f"{advice}let its __len__ return how many there are."
    )


def _batch_count(rows: int, settings: LoaderSettings, *, shuffled: bool) -> int:
    """Return the batches of an epoch in our own order."""
    if settings.batch_size is None:
        return rows
    full, remainder = divmod(rows, settings.batch_size)
    if settings.drop_last:
        return full
    # On a single row BatchNorm cannot train; another epoch has it.
    single = shuffled and remainder == 1 and settings.batch_size > 1 and full > 0
    return full + (remainder > 0 and not single)
