"""Estimators for scikit-learn: `fit` searches the widths of a perceptron, and trains it.

    from widthwise.integrations.sklearn import WidthSearchClassifier

    model = make_pipeline(StandardScaler(), WidthSearchClassifier(limits={"parameters": 5_000}))
    model.fit(x, y).predict(x)

They pass scikit-learn's own checks, and go where its estimators go: pipelines, cross-validation,
clones and pickles. With a `random_state` a fit repeats exactly, on one worker and a CPU. Columns
are standardised within, by the rows that were fitted; sample weights are not offered, as the
trainings know none.

Entry points: `WidthSearchClassifier`, `WidthSearchRegressor`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Literal, Self, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from ..objectives.data.dataset import Data, Split, Task
from ..search.python.result import SearchResult
from ..search.python.search import search
from ..search.space.limits import Limits
from ..search.space.space import Space

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_MIN_HELD_OUT = 1


class _WidthSearch(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """What both estimators are: parameters, the search, and the network's outputs.

    Args:
        limits: Hard bounds on costs, such as `{"parameters": 5_000, "flops": "20k"}`.
        trials: Trainings of the search; "auto" for a search that ends itself.
        hidden_layers: Of the network.
        min_width: Of each hidden layer; widths are its multiples.
        max_width: Of each hidden layer.
        widths: Names to ranges or choices, or a `Space`, in place of these three.
        goal: "best" network within the limits, "smallest" that is good enough, or "front".
        good_enough: For the goal "smallest": the metric that is good enough.
        metric: That decides; accuracy or r2 by default.
        confirm: Whether to confirm the answer by long trainings with fresh seeds.
        epochs: Of a training at most; by default as many as 3,000 steps take.
        batch_size: Rows of a step.
        learning_rate: AdamW's, at the base width.
        weight_decay: AdamW's.
        activation: Of the hidden layers: "relu", "gelu", "silu", "tanh" and so on.
        dropout: Share of hidden neurons left out in training.
        validation_fraction: Rows that decide when the network's training ends.
        folds: Parts of the rows that take turns in validating candidates; None for 5 where there
            are fewer than 2,000 rows, else 1.
        n_jobs: Workers; -1 for as many as there are CPUs.
        device: What to train on: "auto", "cpu", "cuda".
        random_state: Seed of all that is drawn.
        verbose: Whether to write progress to stderr.

    Attributes:
        best_widths_: The widths that were taken.
        report_: What `widthwise report --json` writes: verdict, costs, baselines, diagnosis.
        trials_: A table with a row a trial.
        network_: The trained `torch.nn.Module`, on the CPU; it takes standardised columns.
        n_features_in_: Columns.
        feature_names_in_: Their names, where the rows came as a table with names.
    """

    def __init__(
        self,
        *,
        limits: Limits | Mapping[str, Any] | None = None,
        trials: int | Literal["auto"] = 20,
        hidden_layers: int = 2,
        min_width: int = 8,
        max_width: int = 256,
        widths: Space | Mapping[str, Any] | None = None,
        goal: Literal["best", "smallest", "front"] = "best",
        good_enough: float | None = None,
        metric: str | None = None,
        confirm: bool = False,
        epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        activation: str = "relu",
        dropout: float = 0.0,
        validation_fraction: float = 0.15,
        folds: int | None = None,
        n_jobs: int | None = None,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.limits = limits
        self.trials = trials
        self.hidden_layers = hidden_layers
        self.min_width = min_width
        self.max_width = max_width
        self.widths = widths
        self.goal = goal
        self.good_enough = good_enough
        self.metric = metric
        self.confirm = confirm
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.activation = activation
        self.dropout = dropout
        self.validation_fraction = validation_fraction
        self.folds = folds
        self.n_jobs = n_jobs
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @abstractmethod
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803 - scikit-learn's name
        """Search the widths, and train the network of the best ones."""

    def _search(self, data: Data, seed: int) -> None:
        """Search on prepared data, and keep what is needed to predict."""
        result = search(
            family="mlp",
            data=data,
            widths=self._searched_widths(),
            limits=self.limits,
            trials=self.trials,
            goal=self.goal,
            good_enough=self.good_enough,
            metric=self.metric,
            confirm=self.confirm,
            epochs=self.epochs,
            batch_size=min(self.batch_size, len(data.train)),
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            activation=self.activation,
            dropout=self.dropout or None,
            folds=self.folds,
            workers=self._worker_count(),
            device=self.device,
            seed=seed,
            name=type(self).__name__,
            # Which engine is fastest, and how many trials a claim has, only a clock could tell.
            engine="plain",
            at_once=1,
            # Noise is fitted, too, where somebody fits it.
            untrained_ok=True,
            progress=self.verbose,
        )
        self._keep(result)

    def _keep(self, result: SearchResult) -> None:
        if not result.complete:
            raise KeyboardInterrupt
        self.best_widths_ = result.widths
        self.report_ = result.to_json()
        self.trials_ = result.table
        self.network_ = result.model()

    def _searched_widths(self) -> Any:
        if self.widths is not None:
            return self.widths
        names = [f"hidden{layer}" for layer in range(1, self.hidden_layers + 1)]
        choices = range(self.min_width, self.max_width + 1, self.min_width)
        section: dict[str, Any] = {name: list(choices) for name in names}
        return section | ({"order": "non-increasing"} if len(names) > 1 else {})

    def _worker_count(self) -> int:
        if self.n_jobs is None:
            return 1
        cpus = os.cpu_count() or 1
        return int(self.n_jobs) if self.n_jobs > 0 else max(1, cpus + 1 + int(self.n_jobs))

    def _check_parameters(self) -> None:
        """Check what the search would not; it says of all else what is wrong.

        Raises:
            ValueError: A parameter makes no sense.
        """
        for name in ("hidden_layers", "min_width", "max_width", "batch_size"):
            value: Any = getattr(self, name)
            if not _is_whole(value) or value < 1:
                raise ValueError(f"{name} is {value!r}, expected a whole number of at least 1")
        if self.min_width > self.max_width:
            raise ValueError(f"min_width {self.min_width} is above max_width {self.max_width}")
        if self.n_jobs is not None and not (_is_whole(self.n_jobs) and self.n_jobs):
            raise ValueError(f"n_jobs is {self.n_jobs!r}, expected a whole number other than 0")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction is {self.validation_fraction!r}, expected a share between 0 "
                "and 1"
            )

    def _standardise(self, inputs: Floats) -> Floats:
        """Learn the columns' means and scales, and return them standardised."""
        self._mean = inputs.mean(axis=0)
        deviation = inputs.std(axis=0)
        # A constant column has nothing to tell; its rounding errors are not made to.
        negligible = 10 * np.finfo(np.float64).eps * np.abs(self._mean)
        self._scale = np.where(deviation > negligible, deviation, 1.0)
        return np.asarray((inputs - self._mean) / self._scale)

    def _outputs(self, X: ArrayLike) -> Floats:  # noqa: N803
        """Return the network's outputs, `rows x outputs`."""
        check_is_fitted(self)
        inputs = validate_data(self, X, reset=False, dtype=np.float64)
        # In double precision a row's output does not depend on the rows beside it.
        network = deepcopy(self.network_).double()
        with torch.no_grad():
            outputs = network(torch.from_numpy((inputs - self._mean) / self._scale))
        return outputs.reshape(len(inputs), -1).numpy()  # type: ignore[no-any-return]

    def _split(self, strata: Rows | None, rows: int, seed: int) -> tuple[Rows, Rows]:
        """Divide rows into training and validation rows, strata in proportion.

        Args:
            strata: The class of each row; None for one of all.
            rows: How many there are.
            seed: Of the draw.

        Raises:
            ValueError: There are too few.
        """
        if rows < 2:
            raise ValueError(f"found n_samples = {rows}, expected at least 2 rows: 1 is held out")
        generator = np.random.default_rng(seed)
        groups = [np.arange(rows)]
        if strata is not None:
            groups = [np.flatnonzero(strata == each) for each in np.unique(strata)]
        validation: list[Rows] = []
        for group in groups:
            count = round(self.validation_fraction * len(group))
            count = max(count, _MIN_HELD_OUT if len(group) > 1 else 0)
            validation.append(generator.permutation(group)[:count])
        held_out = np.concatenate(validation)
        if not len(held_out):  # each class has one row
            held_out = np.array([generator.integers(rows)])
        train = np.setdiff1d(np.arange(rows), held_out)
        return generator.permutation(train), np.sort(held_out)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _tensors(inputs: Floats, targets: torch.Tensor, rows: Rows) -> Split:
    chosen = torch.from_numpy(rows)
    return Split(inputs=torch.from_numpy(inputs[rows].astype(np.float32)), targets=targets[chosen])


@final
class WidthSearchClassifier(ClassifierMixin, _WidthSearch):  # type: ignore[misc]
    """A classifier whose network has the widths that a search found.

    The parameters are those of `_WidthSearch`: limits, trials, hidden_layers, min_width, max_width,
    widths, goal, good_enough, metric, confirm, epochs, batch_size, learning_rate, weight_decay,
    activation, dropout, validation_fraction, folds, n_jobs, device, random_state, verbose.

    Attributes:
        classes_: The labels, sorted.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Search the widths, and train the network of the best ones.

        Args:
            X: Rows of numbers, `rows x columns`.
            y: A label a row.

        Raises:
            ValueError: A parameter, the rows or the labels make no sense.
            SearchError: The search could not be done: nothing keeps the limits, for one.
        """
        self._check_parameters()
        inputs, labels = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        labels = column_or_1d(labels, warn=True)
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"the labels have one class, {self.classes_[0]}; a classifier needs two or more"
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        standardised = self._standardise(inputs)
        targets = torch.from_numpy(numbers.astype(np.int64))
        train, validation = self._split(numbers, len(numbers), seed)
        data = Data(
            name=type(self).__name__,
            task=Task.CLASSIFICATION,
            train=_tensors(standardised, targets, train),
            validation=_tensors(standardised, targets, validation),
            test=_tensors(standardised, targets, np.array([], dtype=np.int64)),
            outputs=len(self.classes_),
            classes=tuple(map(str, self.classes_)),
            drawn_at_random=True,
        )
        self._search(data, seed)
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:  # noqa: N803
        """Return the probability of each class, `rows x classes`, in the order of `classes_`."""
        logits = self._outputs(X)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Return the likeliest label of each row."""
        numbers = self._outputs(X).argmax(axis=1)
        return np.asarray(self.classes_[numbers])


@final
class WidthSearchRegressor(RegressorMixin, _WidthSearch):  # type: ignore[misc]
    """A regressor whose network has the widths that a search found, for one target or several.

    The parameters are those of `WidthSearchClassifier`. Targets are standardised within.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Search the widths, and train the network of the best ones.

        Args:
            X: Rows of numbers, `rows x columns`.
            y: A quantity a row, or several, `rows x targets`.

        Raises:
            ValueError: A parameter, the rows or the targets make no sense.
            SearchError: The search could not be done: nothing keeps the limits, for one.
        """
        self._check_parameters()
        inputs, values = validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        values = np.asarray(values, dtype=np.float64)
        if values.ndim == 2 and values.shape[1] == 1:
            values = column_or_1d(values, warn=True)
        self._is_matrix = values.ndim == 2
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        standardised = self._standardise(inputs)
        self._target_mean = np.atleast_1d(values.mean(axis=0))
        deviation = np.atleast_1d(values.std(axis=0))
        self._target_scale = np.where(deviation > 0, deviation, 1.0)
        scaled = (values - self._target_mean) / self._target_scale
        targets = torch.from_numpy(scaled.astype(np.float32))
        train, validation = self._split(None, len(values), seed)
        data = Data(
            name=type(self).__name__,
            task=Task.REGRESSION,
            train=_tensors(standardised, targets, train),
            validation=_tensors(standardised, targets, validation),
            test=_tensors(standardised, targets, np.array([], dtype=np.int64)),
            outputs=len(self._target_mean),
            target_mean=tuple(map(float, self._target_mean)),
            target_scale=tuple(map(float, self._target_scale)),
            drawn_at_random=True,
        )
        self._search(data, seed)
        return self

    def predict(self, X: ArrayLike) -> Floats:  # noqa: N803
        """Return the quantities, `rows`, or `rows x targets` where several were fitted."""
        values = self._outputs(X) * self._target_scale + self._target_mean
        return np.asarray(values if self._is_matrix else values[:, 0])

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn should know: several targets are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
