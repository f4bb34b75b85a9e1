"""What an experiment is about."""

from __future__ import annotations

from widthwise.search.followup.subject import load_subject
from widthwise.search.problem.seeds import experiment_seed
from widthwise.storage.database.database import Database, resolve_url
from widthwise.tests.search.conftest import CommandLine


def test_no_seed_is_that_of_the_training_that_selected_the_widths(iris_cli: CommandLine) -> None:
    with Database.open(resolve_url(iris_cli.storage)) as database:
        subject = load_subject(database, "iris")
    assert subject.seeds(3) == [experiment_seed(0, index) for index in range(3)]
    assert not {*subject.seeds(3)} & {trial.seed for trial in subject.evidence.trials}
