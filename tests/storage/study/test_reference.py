"""The figures of reference models are kept beside the study, in both databases."""

from widthwise.storage.study.reference import (
    REFERENCE_ATTRIBUTE,
    read_reference_figures,
    store_reference_figures,
)

FIGURES = {
    "constant": {"value": 0.1, "test": 0.2},
    "linear": {"value": 1 / 3, "test": None},
}


def test_figures_come_back_as_they_were_stored(database, study):
    assert read_reference_figures(database, study) is None
    store_reference_figures(database, study, FIGURES)
    assert read_reference_figures(database, study) == FIGURES


def test_storing_again_replaces_them_and_optuna_shows_them(database, study):
    store_reference_figures(database, study, FIGURES)
    store_reference_figures(database, study, {})
    assert read_reference_figures(database, study) == {}
    attributes = database.optuna_storage().get_study_user_attrs(study.optuna_study_id)
    assert attributes[REFERENCE_ATTRIBUTE] == {}
