"""The Ray cluster that a fleet runs on: found, joined or started, and large enough or not.

Entry points: `ray_library`, `connect`, `room`.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import tempfile
from pathlib import Path
from types import ModuleType

from sqlalchemy.engine import URL

from ..errors import SpecError

# What a node on the network may take to accept a connection.
_ANSWER_SECONDS = 5.0
# The least that Ray accepts, in bytes; next to nothing is ever put there.
_OBJECT_STORE_BYTES = 80_000_000


def ray_library() -> ModuleType:
    """The module `ray`.

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
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = _address()
    try:
        if address is not None:
            ray.init(address=address, **quiet)
        else:
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                **quiet,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _refused(str(error).partition("\n")[0]) from error
    return address is None


def _address() -> str | None:
    """Address of the cluster to join; None to start one here.

    Ray itself would wait some ten minutes for one that is gone.

    Raises:
        SpecError: The one that RAY_ADDRESS names does not answer.
    """
    given = os.environ.get("RAY_ADDRESS", "auto")
    if given == "local" or "://" in given:
        return None if given == "local" else given
    if given != "auto":
        if not _answers(given):
            raise _refused(f"nobody answers at {given}")
        return given
    # `ray start` notes its address down here, for every program on the machine.
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    note = Path(folder, "ray", "ray_current_cluster")
    noted = note.read_text().strip() if note.is_file() else ""
    return noted if _answers(noted) else None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def _refused(reason: str) -> SpecError:
    return SpecError(
        f"--on ray: the Ray cluster cannot be joined ({reason}); check RAY_ADDRESS, and that Ray "
        "and Python are of the same versions there"
    )


def room(ray: ModuleType, url: URL, threads: int, gpu: bool, for_good: bool) -> int:
    """How many workers the cluster has room for; `for_good` where no node can join it any more.

    Raises:
        SpecError: None can ever run there, or the storage is a file of this machine only.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if len(nodes) > 1 and url.get_backend_name() == "sqlite":
        raise SpecError(
            f"--on ray: the cluster has {len(nodes)} nodes, and a SQLite file serves one machine; "
            "give a PostgreSQL storage (postgresql://USER@HOST/DATABASE)"
        )
    found = sum(
        int(min(node.get("CPU", 0) // threads, node.get("GPU", 0) if gpu else math.inf))
        for node in nodes
    )
    if for_good and not found:
        cpus, gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
        raise SpecError(
            f"--on ray: a worker asks for {threads} CPUs{' and a GPU' if gpu else ''}, and Ray "
            f"finds {cpus:.0f} CPUs and {gpus:.0f} GPUs on this machine; ask for fewer --threads, "
            "or name a larger cluster by RAY_ADDRESS"
        )
    return found
