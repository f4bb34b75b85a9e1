import inspect
import re

import pytest
from widthwise.objectives import errors as objective_errors
from widthwise.search import errors as search_errors
from widthwise.storage import errors as storage_errors

DOCUMENTED = {
    name: int(code)
    for name, code in re.findall(r"^ {4}\W*([A-Z]\w+) +(\d+) ", search_errors.__doc__, re.MULTILINE)
}


@pytest.mark.parametrize(
    ("module", "base"),
    [
        (search_errors, search_errors.SearchError),
        (objective_errors, objective_errors.ObjectiveError),
        (storage_errors, storage_errors.StorageError),
    ],
    ids=["search", "objectives", "storage"],
)
def test_the_tree_names_every_error_and_its_exit_code(module, base):
    # The supervisor settles a dead trainer: that never reaches the edge.
    inner = {search_errors.TrainerDied}
    classes = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, Exception) and cls not in inner and cls.__module__ == module.__name__
    ]
    assert {cls.__name__: DOCUMENTED.get(cls.__name__) for cls in classes} == {
        cls.__name__: cls.exit_code for cls in classes
    }
    assert all(issubclass(cls, base) for cls in classes)


def test_the_tree_names_no_error_that_is_not_there():
    modules = (search_errors, objective_errors, storage_errors)
    missing = [name for name in DOCUMENTED if not any(hasattr(module, name) for module in modules)]
    assert missing == []
