"""File systems on which a SQLite file may not lie: those that other machines share.

SQLite in WAL mode keeps its index in memory that all processes share, so they must be on one
machine (https://www.sqlite.org/wal.html), and many network file systems do not keep the locks that
any mode needs (https://www.sqlite.org/faq.html#q5). Two workers would claim one slot, or tear the
file, without an error. `network_mount` tells before that happens; on Linux, which lists its mounts.
"""

import re
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")

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
"""Types, as the kernel names them, whose files other machines see too."""

# 9p carries a container's or a virtual machine's own files as well: only over a network is it one.
_NETWORK_9P = re.compile(r"(^|,)trans=(tcp|rdma)(,|$)")


@dataclass(frozen=True, kw_only=True)
class Mount:
    """Where a file system is mounted, and of which type it is."""

    point: Path
    kind: str


def network_mount(path: Path) -> Mount | None:
    """The network file system that a file lies on, or will; None if it is a local one.

    Also None where the system does not list its mounts.
    """
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    # What a symbolic link points to counts, of a file that is not there yet its folder.
    resolved = path.resolve()
    innermost: Mount | None = None
    is_network = False
    for line in lines:
        _, point_text, kind, options = line.split(" ")[:4]
        mount_point = Path(_unescape(point_text))
        # The innermost mount holds the file, of several at one place the last.
        if resolved.is_relative_to(mount_point) and (
            innermost is None or len(mount_point.parts) >= _depth(innermost)
        ):
            innermost = Mount(point=mount_point, kind=kind)
            is_network = kind in NETWORK_TYPES or (
                kind == "9p" and bool(_NETWORK_9P.search(options))
            )
    return innermost if is_network else None


def _depth(mount: Mount) -> int:
    return len(mount.point.parts)


def _unescape(text: str) -> str:
    r"""A mount point as it is: the kernel writes a space as \040, and so on."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
