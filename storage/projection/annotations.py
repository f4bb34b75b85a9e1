"""Annotations: what the dashboard shows of a study beside its trials: a note, and files.

Nothing of them is stored: they are added whenever the dashboard reads a study, so that they are as
new as its trials, and a role that may only read sees them as well. A note
that somebody wrote into the dashboard stays in place of ours.

Entry points: `Annotations` (who knows them), `annotated_attributes`, `AnnotationFiles` (the files,
as optuna-dashboard's artifact store), `prepare_annotations` (a WSGI wrapper), `file_address`.
"""

from __future__ import annotations

import io
import json
import mimetypes
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, final

from optuna.artifacts.exceptions import ArtifactNotFound

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

NOTE_VERSION_ATTRIBUTE = "dashboard:note_ver"
NOTE_ATTRIBUTE = "dashboard:note_str:0"
ARTIFACT_PREFIX = "artifacts:"
"""System attributes of a study from which optuna-dashboard 0.21 reads its note and its files."""

_STUDY_PATH = re.compile(r"/api/studies/(\d+)/?")
_NAMESPACE = uuid.UUID("8f2c1d5e-6f0b-4a53-9a0e-5d1f0c7d4b11")


class Annotations(Protocol):
    """Who knows what is to be shown of studies; asked by several threads at once."""

    def prepare(self, study_id: int) -> None:
        """Get ready what is to be shown of a study; may return before it is.

        Args:
            study_id: Optuna's.
        """
        ...

    def note(self, study_id: int) -> str | None:
        """Return the note in Markdown; None where there is none, or none yet."""
        ...

    def files(self, study_id: int) -> Mapping[str, bytes]:
        """Return the files by name; none where there are none yet."""
        ...


def artifact_id(study_id: int, name: str) -> str:
    """Return the id of a study's file: the same one each time."""
    return str(uuid.uuid5(_NAMESPACE, f"{study_id}/{name}"))


def file_address(study_id: int, name: str) -> str:
    """Return the path at which the dashboard serves a file of a study."""
    return f"/artifacts/{study_id}/{artifact_id(study_id, name)}"


def annotated_attributes(
    annotations: Annotations, study_id: int, stored: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a study's system attributes with its note and files among them.

    Args:
        annotations: Knows them.
        study_id: Optuna's.
        stored: The attributes that it has in the database, which win.
    """
    added: dict[str, Any] = {}
    note = annotations.note(study_id)
    if note is not None and NOTE_VERSION_ATTRIBUTE not in stored:
        added = {NOTE_VERSION_ATTRIBUTE: 1, NOTE_ATTRIBUTE: note}
    for name in annotations.files(study_id):
        identifier = artifact_id(study_id, name)
        mimetype, _ = mimetypes.guess_type(name)
        added[f"{ARTIFACT_PREFIX}{identifier}"] = json.dumps(
            {
                "artifact_id": identifier,
                "filename": name,
                "mimetype": mimetype or "application/octet-stream",
                "encoding": None,
            }
        )
    return {**added, **stored}


@final
class AnnotationFiles:
    """The files of all studies as the artifact store that optuna-dashboard reads from.

    Args:
        annotations: Knows the files.
        study_ids: Returns Optuna's ids of all studies.
    """

    def __init__(self, annotations: Annotations, study_ids: Callable[[], Iterable[int]]) -> None:
        self._annotations, self._study_ids = annotations, study_ids

    def open_reader(self, artifact_id_: str) -> BinaryIO:
        """Return a file's content.

        Raises:
            ArtifactNotFound: No study has such a file, or not any more.
        """
        for study_id in self._study_ids():
            for name, content in self._annotations.files(study_id).items():
                if artifact_id(study_id, name) == artifact_id_:
                    return io.BytesIO(content)
        raise ArtifactNotFound("no study has such a file")

    def write(self, *_file: object) -> None:
        """Refuse: the files are made from the study.

        Raises:
            ArtifactNotFound: Always.
        """
        raise ArtifactNotFound("this dashboard keeps no files of others")

    remove = write


def prepare_annotations(application: WSGIApplication, annotations: Annotations) -> WSGIApplication:
    """Return an application that gets a study's annotations ready before it answers for it."""

    def prepare(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match = _STUDY_PATH.fullmatch(environ.get("PATH_INFO", ""))
        if match and environ["REQUEST_METHOD"] == "GET":
            annotations.prepare(int(match[1]))
        return application(environ, start_response)

    return prepare
