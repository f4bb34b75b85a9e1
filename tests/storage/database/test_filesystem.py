"""A SQLite file that other machines could see is refused before it is touched."""

from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.database.filesystem import Mount, network_mount
from widthwise.storage.errors import UrlRefused


class Partition(NamedTuple):
    """A mounted file system, as psutil lists it."""

    mountpoint: str
    fstype: str
    opts: str


@pytest.fixture
def mounted(tmp_path):
    """Pretend that file systems are mounted in the test's folder; gives it and their list."""

    def mount(*entries):
        root = Partition("/", "overlay", "rw,relatime")
        others = [Partition(str(tmp_path / point), *details) for point, *details in entries]
        return tmp_path, [root, *others]

    return mount


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, "rw") for kind in ("nfs", "nfs4", "cifs", "smb3", "lustre", "ceph")),
        *((kind, "rw") for kind in ("fuse.sshfs", "fuse.s3fs", "beegfs", "glusterfs", "gpfs")),
        ("9p", "rw,relatime,trans=tcp,port=564"),
    ],
)
def test_a_network_file_system_is_recognised(mounted, kind, options):
    folder, partitions = mounted(("shared", kind, options))
    expected = Mount(point=folder / "shared", kind=kind)
    assert network_mount(folder / "shared" / "deep" / "w.db", partitions) == expected
    assert network_mount(folder / "w.db", partitions) is None


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ext4", "rw"),
        ("tmpfs", "rw"),
        ("fuse.fuse-overlayfs", "rw"),
        ("9p", "rw,trans=fd,rfdno=4,wfdno=4"),
        ("virtiofs", "rw"),
    ],
)
def test_a_local_file_system_is_not(mounted, kind, options):
    folder, partitions = mounted(("disk", kind, options))
    assert network_mount(folder / "disk" / "w.db", partitions) is None


def test_the_innermost_mount_counts_and_of_two_the_last(mounted):
    folder, partitions = mounted(
        ("shared", "nfs4", "rw"),
        ("shared/scratch", "xfs", "rw"),
        ("twice", "nfs", "rw"),
        ("twice", "ext4", "rw"),
    )
    assert network_mount(folder / "shared" / "w.db", partitions).kind == "nfs4"
    assert network_mount(folder / "shared" / "scratch" / "w.db", partitions) is None
    assert network_mount(folder / "shared-not" / "w.db", partitions) is None
    assert network_mount(folder / "twice" / "w.db", partitions) is None


def test_a_link_is_followed(mounted):
    folder, partitions = mounted(("my share", "cifs", "rw"))
    (folder / "my share").mkdir()
    (folder / "link").symlink_to(folder / "my share")
    expected = Mount(point=folder / "my share", kind="cifs")
    assert network_mount(folder / "link" / "w.db", partitions) == expected


def test_a_file_below_no_mount_is_taken_as_local():
    assert network_mount(Path("w.db"), []) is None


def test_a_system_that_lists_no_mounts_is_taken_as_it_is(monkeypatch):
    def refuse(**_options):
        raise OSError

    monkeypatch.setattr(psutil, "disk_partitions", refuse)
    assert network_mount(Path("w.db")) is None


def test_the_mounts_of_this_machine_are_read(tmp_path):
    assert network_mount(tmp_path / "w.db") == network_mount(
        tmp_path / "w.db", psutil.disk_partitions(all=True)
    )


@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite:///file:{}?uri=true"])
@pytest.mark.parametrize("create", [True, False])
def test_such_a_database_is_refused_with_the_way_out(mounted, monkeypatch, form, create):
    folder, partitions = mounted(("home", "nfs4", "rw"))
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_options: partitions)
    (folder / "home").mkdir()
    url = resolve_url(form.format(folder / "home" / "w.db"), {})
    with pytest.raises(UrlRefused, match=r"\(nfs4 at .*local disk, or a PostgreSQL") as caught:
        Database.open(url, create=create)
    assert caught.value.exit_code == 2
    assert list((folder / "home").iterdir()) == []
