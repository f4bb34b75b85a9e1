"""Notes and files that the dashboard shows, and nobody stored."""

from __future__ import annotations

import json
from wsgiref.util import setup_testing_defaults

import optuna
import optuna_dashboard
import pytest
from optuna.artifacts.exceptions import ArtifactNotFound
from widthwise.storage.projection.annotations import AnnotationFiles, file_address
from widthwise.storage.projection.dashboard import application


class Made:
    """Annotations of one study, ready once they were asked for."""

    def __init__(self, study_id):
        self.study_id, self.prepared = study_id, []

    def prepare(self, study_id):
        self.prepared.append(study_id)

    def note(self, study_id):
        return "**No gain.**" if study_id in self.prepared else None

    def files(self, study_id):
        if study_id not in self.prepared:
            return {}
        return {"report.html": b"<p>", "history.png": b"\x89PNG"}


def ask(app, path, method="GET", body=None):
    answer = []

    def start_response(status, headers, _error=None):
        answer[:] = [status, dict(headers)]

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path}
    setup_testing_defaults(environ)
    return (b"".join(app(environ, start_response)), *answer)


@pytest.fixture
def study(database, make_finished_study):
    return make_finished_study(database, "digits")


def test_a_study_has_its_note_and_its_files(database, study):
    made = Made(study.optuna_study_id)
    app = application(database, annotations=made)
    body, status, _ = ask(app, f"/api/studies/{study.optuna_study_id}")
    assert status.startswith("200")
    detail = json.loads(body)
    assert detail["note"]["body"] == "**No gain.**"
    assert [(entry["filename"], entry["mimetype"]) for entry in detail["artifacts"]] == [
        ("report.html", "text/html"),
        ("history.png", "image/png"),
    ]
    assert made.prepared == [study.optuna_study_id]
    attributes = database.optuna_storage().get_study_system_attrs(study.optuna_study_id)
    assert "dashboard:note_ver" not in attributes, "nothing of it is stored"


def test_a_file_is_served_where_the_note_points(database, study):
    app = application(database, annotations=Made(study.optuna_study_id))
    ask(app, f"/api/studies/{study.optuna_study_id}")
    address = file_address(study.optuna_study_id, "history.png")
    body, status, headers = ask(app, address)
    assert (body, status) == (b"\x89PNG", "200 OK")
    assert headers["Content-Type"] == "image/png"
    assert ask(app, file_address(study.optuna_study_id, "other.png"))[1].startswith("404")


def test_a_note_of_somebody_stays(database, study):
    storage = database.optuna_storage()
    somebodys = optuna.load_study(study_name="digits", storage=storage)
    optuna_dashboard.save_note(somebodys, "mine")
    app = application(database, annotations=Made(study.optuna_study_id))
    body, _, _ = ask(app, f"/api/studies/{study.optuna_study_id}")
    assert json.loads(body)["note"]["body"] == "mine"


def test_without_annotations_there_is_none(database, study):
    body, _, _ = ask(application(database), f"/api/studies/{study.optuna_study_id}")
    assert json.loads(body)["note"]["body"] == ""
    assert json.loads(body)["artifacts"] == []


def test_the_files_of_a_study_are_not_changed():
    files = AnnotationFiles(Made(1), lambda: [1])
    for refuse in (lambda: files.write("x", None), lambda: files.remove("x")):
        with pytest.raises(ArtifactNotFound):
            refuse()
