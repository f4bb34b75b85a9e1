"""The Ray cluster that a fleet runs on: joined or started, and whether it is large enough.

Entry points: `import_ray`, `connect`, `worker_capacity`.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from types import ModuleType

from sqlalchemy.engine import URL

from ...storage.database.url import STORAGE_VARIABLES
from ..errors import SpecError

# What a node on the network may take to accept a connection.
_CONNECT_TIMEOUT_SECONDS = 5.0
# The least that Ray accepts, in bytes; next to nothing is ever put there.
_OBJECT_STORE_BYTES = 80_000_000


def import_ray() -> ModuleType:
    """Return the module `ray`.

    Raises:
        SpecError: It is not installed.
    """
    try:
        import ray
    except ImportError:
        raise SpecError("--on ray needs Ray: pip install 'widthwise[ray]'") from None
    return ray


def connect(ray: ModuleType) -> bool:
    """Join the cluster that RAY_ADDRESS or this machine's `ray start` names, else start Ray here.

    Returns:
        Whether it was started.

    Raises:
        SpecError: The cluster cannot be joined.
    """
    log_options = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = _cluster_address()
    try:
        with _isolated():
            if address is not None:
                ray.init(address=address, **log_options)
            else:
                ray.init(
                    address="local",
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    **log_options,
                )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _join_error(str(error).partition("\n")[0]) from error
    return address is None


@contextmanager
def _isolated() -> Iterator[None]:
    """Keep from Ray, within the block, what it would hand to all of its processes.

    It puts the current folder first on their path, where a user's `queue.py` would be run in place
    of the standard library's: here that is the library's own. And they get our variables, in which
    a password may stand.
    """
    hidden = {name: os.environ.pop(name) for name in STORAGE_VARIABLES if name in os.environ}
    try:
        with chdir(sysconfig.get_path("stdlib")):
            yield
    finally:
        os.environ.update(hidden)


def _cluster_address() -> str | None:
    """Return the address of the cluster to join; None to start one here.

    Ray itself would wait some ten minutes for one that is gone.

    Raises:
        SpecError: The one that RAY_ADDRESS names does not answer.
    """
    address = os.environ.get("RAY_ADDRESS", "auto")
    if address == "local" or "://" in address:
        return None if address == "local" else address
    if address != "auto":
        if not _is_reachable(address):
            raise _join_error(f"nobody answers at {address}")
        return address
    # `ray start` notes its address down here, for every program on the machine.
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    address_file = Path(folder, "ray", "ray_current_cluster")
    recorded_address = address_file.read_text().strip() if address_file.is_file() else ""
    return recorded_address if _is_reachable(recorded_address) else None


def _is_reachable(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection(
            (host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_SECONDS
        ).close()
    except (OSError, ValueError):
        return False
    return True


def _join_error(reason: str) -> SpecError:
    return SpecError(
        f"--on ray: the Ray cluster cannot be joined ({reason}); check RAY_ADDRESS, and that Ray "
        "and Python are of the same versions there"
    )


def worker_capacity(
    ray: ModuleType, url: URL, threads: int, workers_per_gpu: int | None, fixed_size: bool
) -> int:
    """Return how many workers fit on the cluster.

    Args:
        ray: The module.
        url: The storage.
        threads: CPUs that each worker holds.
        workers_per_gpu: How many of them hold a GPU together; None where they hold none.
        fixed_size: Whether no node can join the cluster any more.

    Raises:
        SpecError: None can ever run there, or the storage is a file of this machine only.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if len(nodes) > 1 and url.get_backend_name() == "sqlite":
        raise SpecError(
            f"--on ray: the cluster has {len(nodes)} nodes, and a SQLite file serves one machine; "
            "give a PostgreSQL storage (postgresql://USER@HOST/DATABASE)"
        )
    capacity = sum(
        int(
            min(
                node.get("CPU", 0) // threads,
                math.inf if workers_per_gpu is None else node.get("GPU", 0) * workers_per_gpu,
            )
        )
        for node in nodes
    )
    if fixed_size and not capacity:
        cpus, gpus = (sum(node.get(resource, 0) for node in nodes) for resource in ("CPU", "GPU"))
        and_a_gpu = "" if workers_per_gpu is None else " and a GPU"
        raise SpecError(
            f"--on ray: a worker asks for {threads} CPUs{and_a_gpu}, and Ray "
            f"finds {cpus:.0f} CPUs and {gpus:.0f} GPUs on this machine; ask for fewer --threads, "
            "or name a larger cluster by RAY_ADDRESS"
        )
    return capacity
