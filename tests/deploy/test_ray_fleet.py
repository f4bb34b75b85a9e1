"""Workers that Ray places: drained, lost with their node, and never shown the password."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import URL
from widthwise.search.errors import SpecError
from widthwise.search.fleet.ray import RayFleet
from widthwise.storage.database.database import resolve_url
from widthwise.tests.command_line import run_in_process

from .command import Command
from .napping import LedgerWatch, wait_until, write_study

PASSWORD = "r4y{s}3cret%/@:"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    # Ray's own, while it starts its processes and when they are gone.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def descendants() -> list[psutil.Process]:
    """Every process that this one started, and theirs."""
    return psutil.Process().children(recursive=True)


def processes_named(part: str) -> list[psutil.Process]:
    """Those of the family whose command line has this in it."""
    collected = []
    for process in descendants():
        try:
            if part in " ".join(process.cmdline()):
                collected.append(process)
        except psutil.Error:
            continue
    return collected


def worker_processes() -> list[psutil.Process]:
    return processes_named("widthwise.search.cli.app")


@pytest.fixture(scope="module")
def ray_home() -> Iterator[Path]:
    """A home for Ray, the same for every start in this process; its sockets want a short path."""
    home = Path(tempfile.mkdtemp(prefix="ray-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))  # it leaves a token there
        patch.setenv("RAY_TMPDIR", str(home))
        patch.delenv("RAY_ADDRESS", raising=False)
        before = set(os.environ)
        yield home
        for name in set(os.environ) - before:
            del os.environ[name]
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def ray_folder(ray_home: Path) -> Iterator[Path]:
    """Ray's own files; nothing of it is left running in the end."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield ray_home
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for what it killed
        ray.shutdown()
        gc.collect()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    left = [
        " ".join(process.cmdline()) for process in [*processes_named("ray"), *worker_processes()]
    ]
    shutil.rmtree(ray_home / "ray", ignore_errors=True)
    assert left == []


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the study, where this process works."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file_url(folder: Path) -> URL:
    return resolve_url(f"sqlite:///{folder / 'study.db'}")


def submit(
    folder: Path, url: URL, *, trials: int, nap: float = 0.1, epochs: int = 5
) -> LedgerWatch:
    write_study(folder, trials=trials, sleep_seconds=nap, epochs=epochs)
    storage = {"WIDTHWISE_STORAGE": url.render_as_string(hide_password=False)}
    submitted = run_in_process(folder, storage, "submit", "nap.toml")
    assert submitted.code == 0, submitted.err
    return LedgerWatch(url)


def make_fleet(size: int, url: URL, *, per_gpu: int | None = None, lease: float = 5.0) -> RayFleet:
    return RayFleet(
        ["worker", "nap", "--threads", "1", "--lease", str(lease)],
        size,
        url,
        threads=1,
        workers_per_gpu=per_gpu,
    )


@pytest.fixture(scope="module")
def password_server(postgresql_server: Any) -> Any:
    postgresql_server.require_password("rayed", PASSWORD)
    return postgresql_server


@pytest.fixture
def password_url(password_server: Any, postgresql_url: str) -> URL:
    """A database on a server that asks for a password."""
    url = resolve_url(postgresql_url, {}).set(username="rayed", password=PASSWORD)
    password_server.execute("GRANT ALL ON SCHEMA public TO rayed", url.database)
    return url


def test_the_command_keeps_the_budget_though_ray_loses_a_worker_and_shows_no_password(
    ray_folder: Path, studies: Path, password_url: URL
) -> None:
    write_study(studies, trials=8)
    for name in ("queue", "optuna", "socket"):  # never run: Ray, too, is kept from this folder
        (studies / f"{name}.py").write_text("open('executed', 'w').close()\n")
    hidden_url = password_url.render_as_string(hide_password=False)
    command = Command(studies, password_url, {"OPTUNA_STORAGE": hidden_url})
    run = command.start("run", "nap.toml", "--on", "ray", "--workers", "2", "--lease", "5")
    watch = LedgerWatch(password_url)
    wait_until(lambda: run.poll() is not None or watch.count_done() >= 1)
    process_texts = [
        part
        for process in descendants()
        if process.pid != run.pid  # that one has what it was given
        for part in (*process.cmdline(), *process.environ().values())
    ]
    assert any("widthwise.search.cli.app" in part for part in process_texts)
    assert not any("s}3cret" in part or "s%7D3cret" in part for part in process_texts)
    hosts = processes_named("ray::WorkerActor")
    hosts[0].kill()
    out, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    watch.assert_exact(8)
    assert "s}3cret" not in out + err
    assert not (studies / "executed").exists()
    logs = [path for path in ray_folder.rglob("*") if path.is_file()]
    assert logs
    assert [path for path in logs if b"s}3cret" in path.read_bytes()] == []


def test_a_drain_gives_the_slots_back_and_leaves_no_process(
    ray_folder: Path, studies: Path
) -> None:
    url = file_url(studies)
    watch = submit(studies, url, trials=4, nap=0.3, epochs=100)
    fleet = make_fleet(3, url)  # one more than there is room for where this machine has two cores
    try:
        wait_until(lambda: watch.any_leased() or fleet.exits())
        assert fleet.exits() == []
        fleet.drain()
        assert fleet.running() == 0
        assert {ended_worker.exit_code for ended_worker in fleet.exits()} == {75}
        watch.assert_nothing_charged()
    finally:
        fleet.close()


def test_a_close_ends_everything_at_once(ray_folder: Path, studies: Path) -> None:
    url = file_url(studies)
    watch = submit(studies, url, trials=4, nap=0.3, epochs=100)
    fleet = make_fleet(1, url)
    wait_until(lambda: watch.any_leased() or fleet.exits())
    fleet.close()
    assert worker_processes() == []
    assert watch.any_leased()  # its lease will end by itself
    assert [ended_worker.exit_code for ended_worker in fleet.exits()] == [-signal.SIGKILL]


@pytest.fixture
def cluster(ray_folder: Path) -> Iterator[Any]:
    """A Ray cluster of several nodes on this machine; the first has no room for workers."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        connect=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False},
    )
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_lost_node_takes_no_trial_with_it(
    cluster: Any, studies: Path, postgresql_url: str
) -> None:
    url = resolve_url(postgresql_url, {})
    watch = submit(studies, url, trials=4, nap=0.2, epochs=10)
    lost = cluster.add_node(num_cpus=1)
    fleet = make_fleet(1, url)
    try:
        wait_until(lambda: watch.any_leased() or fleet.exits())
        (worker,) = worker_processes()
        (host,) = processes_named("ray::WorkerActor")
        machine = [worker, *worker.children(recursive=True)]
        for process in machine:
            process.suspend()  # a machine that is gone gives nothing back
        cluster.add_node(num_cpus=1)
        cluster.remove_node(lost, allow_graceful=False)
        wait_until(lambda: not host.is_running())
        for process in machine:
            with suppress(psutil.NoSuchProcess):  # Ray may have ended it with its host
                process.kill()
        (ended,) = fleet.watch(lambda: None)
    finally:
        fleet.close()
    assert ended.exit_code == 0, ended.message
    watch.assert_exact(4)
    assert watch.event_counts()["reclaimed"] == 1


def test_a_file_on_this_machine_is_refused_where_the_cluster_has_more(
    cluster: Any, studies: Path
) -> None:
    cluster.add_node(num_cpus=1)
    with pytest.raises(SpecError, match="2 nodes, and a SQLite file serves one machine"):
        make_fleet(1, file_url(studies))


def test_each_worker_holds_a_gpu_of_its_own_where_asked_and_sees_none_otherwise(
    ray_folder: Path, studies: Path
) -> None:
    import ray

    # Ray takes our word for them; the study trains on the CPU.
    ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    url = file_url(studies)
    submit(studies, url, trials=4, epochs=100)
    for per_gpu, visible_devices in ((1, ["0", "1"]), (2, ["0", "0"]), (None, ["", ""])):
        fleet = make_fleet(2, url, per_gpu=per_gpu)
        try:
            wait_until(lambda: len(worker_processes()) == 2)
            observed = [process.environ()["CUDA_VISIBLE_DEVICES"] for process in worker_processes()]
        finally:
            fleet.close()
        assert sorted(observed) == visible_devices
    assert ray.is_initialized()  # it was there before


def test_workers_too_large_for_this_machine_are_refused(ray_folder: Path, studies: Path) -> None:
    with pytest.raises(SpecError, match="asks for 5000 CPUs, and Ray finds"):
        RayFleet(["worker", "nap"], 1, file_url(studies), threads=5000, workers_per_gpu=None)


def test_a_cluster_that_is_not_there_is_said(
    ray_folder: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(SpecError, match=r"the Ray cluster cannot be joined .*check RAY_ADDRESS"):
        make_fleet(1, file_url(studies))


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SpecError, match=r"pip install 'widthwise\[ray\]'"):
        make_fleet(1, file_url(tmp_path))
