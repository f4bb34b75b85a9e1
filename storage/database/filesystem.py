"""File systems on which a SQLite file must not lie: those that other machines share.

SQLite in WAL mode keeps its index in memory that all processes share, so they must be on one
machine (https://www.sqlite.org/wal.html), and many network file systems do not keep the locks that
any mode needs (https://www.sqlite.org/faq.html#q5). Two workers would claim one slot, or tear the
file, without an error. `network_mount` tells before a file is opened. `FileIdentity` tells later
whether it is still the file that its path leads to.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import psutil

NETWORK_TYPES = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "wekafs",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.cvmfs2",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.moosefs",
        "fuse.mfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.seaweedfs",
        "fuse.sshfs",
    }
)
"""Types of file systems, as the kernel names them, whose files other machines see too."""

# 9p also carries the files of a container or a virtual machine; only over TCP or RDMA is it shared.
_NETWORK_9P = re.compile(r"(^|,)trans=(tcp|rdma)(,|$)")


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A mounted file system: its folder and its type."""

    point: Path
    kind: str


class DiskPartition(Protocol):
    """A mounted file system as psutil describes it."""

    @property
    def mountpoint(self) -> str:
        """The folder where it is mounted."""

    @property
    def fstype(self) -> str:
        """Its type, as the kernel names it."""

    @property
    def opts(self) -> str:
        """Its mount options, with commas between them."""


@dataclass(frozen=True, kw_only=True)
class FileIdentity:
    """Which file a path led to: SQLite goes on with it when it is deleted or replaced."""

    path: Path
    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the identity of the file at a path; raises OSError where there is none."""
        status = path.stat()
        return cls(path=path, device=status.st_dev, inode=status.st_ino)

    def change(self) -> str | None:
        """Return what became of the file, "was deleted" or the like; None if it is there."""
        try:
            now = FileIdentity.of(self.path)
        except FileNotFoundError:
            return "was deleted or moved away"
        except OSError:
            return None  # it cannot be looked at now: what SQLite says counts
        return None if now == self else "was replaced by another file"


def network_mount(path: Path, partitions: Sequence[DiskPartition] | None = None) -> Mount | None:
    """Return the network file system that a file lies on, or will.

    Args:
        path: Of the file, which need not exist.
        partitions: The mounted file systems in the order of their mounting; by default those that
            the system lists.

    Returns:
        None if it is a local one, or the system does not list its mounts.
    """
    if partitions is None:
        try:
            partitions = psutil.disk_partitions(all=True)
        except (OSError, psutil.Error):
            return None
    # What a symbolic link points to counts, of a file that is not there yet its folder.
    resolved = path.resolve()
    around = [item for item in partitions if resolved.is_relative_to(item.mountpoint)]
    if not around:
        return None
    # The innermost mount holds the file, of several at one folder the last.
    innermost = max(reversed(around), key=lambda item: len(Path(item.mountpoint).parts))
    if innermost.fstype in NETWORK_TYPES or _is_network_9p(innermost):
        return Mount(point=Path(innermost.mountpoint), kind=innermost.fstype)
    return None


def _is_network_9p(partition: DiskPartition) -> bool:
    return partition.fstype == "9p" and bool(_NETWORK_9P.search(partition.opts))
