"""The repository itself: what is written down, locked and shipped fits together."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DIRECT = [
    Requirement(line)
    for line in [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
]
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
MAX_LINES = 400
MAX_MODULES = 12
"""Of a folder, `__init__.py` not counted."""

TESTS_OF_NO_MODULE = {
    "objectives/discovery/test_zoo": "the widths of architectures as people write them",
    "objectives/discovery/test_zoo_resized": "the same architectures at other sizes, trained",
    "objectives/zoo/test_costs": "the costs of well-known models, by nine modules together",
    "objectives/zoo/test_memory": "the predicted peak of well-known models",
    "objectives/zoo/test_polynomials": "polynomials against tracing, in spaces of four families",
    "search/cli/test_bad_input": "what every verb says of bad input",
    "search/cli/test_hostile_names": "what every verb makes of names full of markup",
    "search/cli/test_wrong_values": "what every verb says of values that nobody means",
    "search/space/test_feasible_set_exact_costs": "the feasible set on costs of real models",
    "search/test_public": "what `import widthwise` offers, and what it does not load",
    "search/test_trials_dataframe": "Optuna's table of every kind of study",
    "storage/ledger/test_growth": "what a statement costs as a study grows",
    "storage/ledger/test_ledger_model": "the ledger against a model of it, by random histories",
    "storage/migrations/test_migrations": "the migrations, which are the folder",
    "storage/projection/test_batches": "many slots at once, from the claim to Optuna's tables",
    "storage/study/test_control_at_once": "control from several processes at once",
    "storage/study/test_lost_replies": "replies of the database that never arrive",
}
"""Tests of several modules together, with what they are about; all others stand for one module."""

MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:root|home|tmp|srv|mnt|work|Users)/\w")
INDEX = re.compile(r"pypi\.org/simple|pythonhosted\.org|npmjs\.(?:org|com)|--(?:extra-)?index-url")


def run(arguments: Sequence[str | Path], *, cwd: Path = ROOT) -> str:
    """What a command writes to stdout; its stderr is the message where it fails."""
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{arguments}: {done.stderr}{done.stdout}"
    return done.stdout


def repository_files() -> list[str]:
    """Every file that is in git, or would be with the next commit."""
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).is_file())


FILES = repository_files()
MODULES = [
    name for name in FILES if re.match(r"(integrations|search|objectives|storage)/.*[.]py$", name)
]
ROOM_TESTS = [
    name
    for name in FILES
    if re.match(r"tests/(integrations|search|objectives|storage)/(.*/)?test_[^/]*[.]py$", name)
]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


# --- what is written down -------------------------------------------------------------------------


def test_no_module_is_too_long() -> None:
    lengths = {name: len(text_of(name).splitlines()) for name in MODULES}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_folder_holds_too_many_modules() -> None:
    counts = Counter(
        Path(name).parent.as_posix() for name in MODULES if not name.endswith("/__init__.py")
    )
    assert {folder: count for folder, count in counts.items() if count > MAX_MODULES} == {}


def test_every_folder_of_modules_is_shipped_and_named_in_contributing() -> None:
    folders = {Path(name).parent.as_posix() for name in MODULES}
    assert {f"widthwise.{folder.replace('/', '.')}" for folder in folders} == {*PACKAGES} - {
        "widthwise"
    }
    named = set(
        re.findall(
            r"`((?:integrations|search|objectives|storage)/[a-z_/]*)`", text_of("CONTRIBUTING.md")
        )
    )
    assert {f"{folder}/" for folder in folders} - named == set()


def test_tests_stand_where_their_module_does() -> None:
    """`tests/search/space/test_lattice.py` is of `search/space/lattice.py`."""
    tested = {
        name: re.sub(r"test_([^/]*)$", r"\1", name.removeprefix("tests/")) for name in ROOM_TESTS
    }
    of_no_module = {
        name.removeprefix("tests/").removesuffix(".py")
        for name, module in tested.items()
        if module not in MODULES
    }
    assert of_no_module == {*TESTS_OF_NO_MODULE}


def test_the_package_file_is_the_only_python_at_the_root() -> None:
    assert [name for name in FILES if name.endswith(".py") and "/" not in name] == ["__init__.py"]


@pytest.mark.parametrize("pattern", [MACHINE_PATH, INDEX], ids=["path", "package index"])
def test_nothing_names_one_machine(pattern: re.Pattern[str]) -> None:
    offending_lines = [
        f"{name}:{number}: {line.strip()}"
        for name in FILES
        for number, line in enumerate(text_of(name).splitlines(), start=1)
        if pattern.search(line)
    ]
    assert offending_lines == []


def test_the_patterns_find_what_they_are_for() -> None:
    assert MACHINE_PATH.search("cd " + "/home" + "/me/widthwise")
    assert INDEX.search("pip install --index" + "-url HOST torch")


@pytest.mark.parametrize(
    "name", ["README.md", "Makefile", "Dockerfile", "docker-compose.yml", "py.typed"]
)
def test_a_fresh_clone_has(name: str) -> None:
    assert name in FILES


def test_the_license_is_apache_2_in_full() -> None:
    lines = [line.strip() for line in text_of("LICENSE").splitlines() if line.strip()]
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert lines[:2] == ["Apache License", "Version 2.0, January 2004"]
    assert "END OF TERMS AND CONDITIONS" in lines


def test_the_changelog_knows_the_version() -> None:
    assert "\n## [Unreleased]\n" in text_of("CHANGELOG.md")
    assert PROJECT["project"]["version"] in text_of("CHANGELOG.md")


def test_contributing_opens_with_the_line_that_works() -> None:
    assert text_of("CONTRIBUTING.md").splitlines()[2].strip() == "make test"


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", ".ci/run"])
def test_named_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", text_of(name)))
    assert named
    assert named <= targets


def test_the_ci_script_is_an_executable_program_of_bash() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    run(["bash", "-n", ".ci/run"])


def test_decision_notes_are_numbered_short_and_say_what_was_rejected() -> None:
    notes = [name for name in FILES if name.startswith("docs/decisions/")]
    numbers = [int(Path(name).name[:4]) for name in notes]
    assert numbers == list(range(1, len(notes) + 1))
    for name in notes:
        assert {"## Decision", "## Rejected"} <= set(text_of(name).splitlines()), name
        assert len(text_of(name).splitlines()) < 80, name


# --- what is locked -------------------------------------------------------------------------------


def locked() -> dict[str, str]:
    """Pinned version by canonical name."""
    pins: dict[str, str] = {}
    for line in text_of("constraints.txt").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, version = line.split("==")
        assert canonicalize_name(name) not in pins, f"{name} is pinned twice"
        pins[canonicalize_name(name)] = version.split(";")[0].strip()
    return pins


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_a_range_admits_what_is_locked(requirement: Requirement) -> None:
    pins = locked()
    assert canonicalize_name(requirement.name) in pins
    assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


# --- what is shipped ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built as in a fresh clone: from what git knows, with no build folder about."""
    source = tmp_path_factory.mktemp("source")
    for name in FILES:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "."], cwd=source)
    (built,) = (source / "dist").glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_the_rooms_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    templates = [name for name in FILES if re.match(r"search/.*[.](css|jinja)$", name)]
    assert len(templates) == 2
    expected = {f"widthwise/{name}" for name in ["__init__.py", "py.typed", *MODULES, *templates]}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == expected


def test_the_wheel_brings_its_license_and_its_command(wheel: zipfile.ZipFile) -> None:
    metadata = {name.partition(".dist-info/")[2]: name for name in wheel.namelist()}
    assert "licenses/LICENSE" in metadata
    entries = wheel.read(metadata["entry_points.txt"]).decode()
    assert "widthwise = widthwise.search.cli.app:main" in entries
