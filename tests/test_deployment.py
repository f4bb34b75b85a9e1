"""The image and the Compose file: valid to Compose itself, and they keep what they promise."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from sqlalchemy import make_url

from .deploy.compose import Services, command_line_of, load_compose_services, seconds_of
from .deploy.verbs import default_grace, parse_command_line

ROOT = Path(__file__).resolve().parent.parent
BUILD_FILES = ("LICENSE", "README.md", "constraints.txt", "pyproject.toml")
# What Widthwise runs as, PostgreSQL aside.
OURS = ("migrate", "worker", "worker-gpu", "submit", "run", "dashboard")
TRAINING = ("worker", "worker-gpu", "run")


def lines_of(name: str) -> list[str]:
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def services() -> Services:
    return load_compose_services(WIDTHWISE_UID="1234", WIDTHWISE_GID="100", WIDTHWISE_GPU="GPU-3")


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
    assert profiles == {
        "postgres": [],
        "create-role": [],
        "migrate": [],
        "worker": [],
        "worker-gpu": ["gpu"],
        "submit": ["submit"],
        "run": ["run"],
        "dashboard": ["dashboard"],
    }


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


def test_no_service_takes_more_than_its_share(services: Services) -> None:
    for name, service in services.items():
        limits = service["deploy"]["resources"]["limits"]
        assert float(limits["cpus"]) > 0, name
        assert int(limits["memory"]) >= 2**26, name
        assert limits["pids"] > 0, name
    chosen = load_compose_services(WIDTHWISE_WORKER_CPUS="7", WIDTHWISE_WORKER_MEMORY="9g")
    for name in TRAINING:
        limits = chosen[name]["deploy"]["resources"]["limits"]
        assert (limits["cpus"], limits["memory"]) == ("7", str(9 * 2**30)), name


def test_passwords_are_in_files_that_git_does_not_take(services: Services) -> None:
    for name, service in services.items():
        sources = {f"/run/secrets/{secret['source']}" for secret in service["secrets"]}
        given = {value for key, value in service["environment"].items() if "PASSWORD" in key}
        assert given == sources, name
    assert make_url(services["worker"]["environment"]["WIDTHWISE_STORAGE"]).password is None
    for secret in ("postgres_password", "widthwise_password"):
        ignored = ["git", "check-ignore", "--quiet", f"secrets/{secret}"]
        assert subprocess.run(ignored, cwd=ROOT, timeout=60).returncode == 0


@pytest.mark.parametrize("name", OURS)
def test_no_service_of_ours_knows_the_superuser(name: str, services: Services) -> None:
    service = services[name]
    assert [secret["source"] for secret in service["secrets"]] == ["widthwise_password"]
    url = make_url(service["environment"]["WIDTHWISE_STORAGE"])
    superuser = services["postgres"]["environment"]["POSTGRES_USER"]
    assert (url.username, url.database) == ("widthwise", "widthwise")
    assert superuser not in (url.username, None)


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_verb_with_flags_that_exist(name: str, services: Services) -> None:
    assert parse_command_line(command_line_of(services[name]))


@pytest.mark.parametrize("name", OURS)
def test_everybody_waits_for_the_database_and_its_tables(name: str, services: Services) -> None:
    waits = {
        other: dependency["condition"] for other, dependency in services[name]["depends_on"].items()
    }
    before = "create-role" if name == "migrate" else "migrate"
    assert waits == {"postgres": "service_healthy", before: "service_completed_successfully"}


@pytest.mark.parametrize("name", ["worker", "worker-gpu"])
def test_a_worker_serves_the_pool_and_is_started_again(name: str, services: Services) -> None:
    worker = services[name]
    options = parse_command_line(command_line_of(worker))
    assert (options["name"], options["idle"]) == (None, None)
    # Without a bound: each of its exit codes asks for a start, and a pool lives long.
    assert worker["restart"] == "on-failure"
    assert "container_name" not in worker  # or --scale could not number them
    assert "ports" not in worker


@pytest.mark.parametrize("name", TRAINING)
def test_a_stop_leaves_time_to_drain(name: str, services: Services) -> None:
    assert seconds_of(services[name]["stop_grace_period"]) >= default_grace() + 10


@pytest.mark.parametrize("name", TRAINING)
def test_who_trains_sees_the_studies_and_shares_the_checkpoints(
    name: str, services: Services
) -> None:
    mounts = {mount["target"]: mount for mount in services[name]["volumes"]}
    assert mounts["/studies"]["read_only"]
    assert mounts["/checkpoints"]["source"] == "checkpoints"
    assert not mounts["/checkpoints"].get("read_only")
    assert services[name]["environment"]["WIDTHWISE_CHECKPOINTS"] == "/checkpoints"
    # A new volume takes the folder's mode from the image: writable whoever the container runs as.
    assert any("--mode 1777 /checkpoints" in line for line in lines_of("Dockerfile"))


def test_a_gpu_is_reserved_by_its_name(services: Services) -> None:
    (device,) = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["device_ids"] == ["GPU-3"]
    assert "gpu" in device["capabilities"]
    assert "reservations" not in services["worker"]["deploy"]["resources"]
