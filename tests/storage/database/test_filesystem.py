"""A SQLite file that other machines could see is refused before it is touched."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from widthwise.storage.database import filesystem
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.database.filesystem import Mount, network_mount
from widthwise.storage.errors import UrlRefused


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """Pretend that file systems are mounted in the test's folder; gives the folder."""

    def mount(*entries):
        lines = ["overlay / overlay rw,relatime 0 0"]
        for point, kind, options in entries:
            mount_path = str(tmp_path / point).replace(" ", r"\040")
            lines.append(f"source {mount_path} {kind} {options} 0 0")
        listing = tmp_path / "mounts"
        listing.write_text("\n".join(lines) + "\n")
        monkeypatch.setattr(filesystem, "MOUNTS", listing)
        return tmp_path

    return mount


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, "rw") for kind in ("nfs", "nfs4", "cifs", "smb3", "lustre", "ceph")),
        *((kind, "rw") for kind in ("fuse.sshfs", "fuse.s3fs", "beegfs", "glusterfs", "gpfs")),
        ("9p", "rw,relatime,trans=tcp,port=564"),
    ],
)
def test_network_file_systems_are_told(mounted, kind, options):
    folder = mounted(("shared", kind, options))
    expected = Mount(point=folder / "shared", kind=kind)
    assert network_mount(folder / "shared" / "deep" / "w.db") == expected
    assert network_mount(folder / "w.db") is None


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
def test_local_ones_are_not(mounted, kind, options):
    assert network_mount(mounted(("disk", kind, options)) / "disk" / "w.db") is None


def test_the_innermost_mount_counts_and_of_two_the_last(mounted):
    folder = mounted(
        ("shared", "nfs4", "rw"),
        ("shared/scratch", "xfs", "rw"),
        ("twice", "nfs", "rw"),
        ("twice", "ext4", "rw"),
    )
    assert network_mount(folder / "shared" / "w.db").kind == "nfs4"
    assert network_mount(folder / "shared" / "scratch" / "w.db") is None
    assert network_mount(folder / "shared-not" / "w.db") is None
    assert network_mount(folder / "twice" / "w.db") is None


def test_a_link_is_followed_and_a_space_is_read(mounted):
    folder = mounted(("my share", "cifs", "rw"))
    (folder / "my share").mkdir()
    (folder / "link").symlink_to(folder / "my share")
    assert network_mount(folder / "link" / "w.db") == Mount(point=folder / "my share", kind="cifs")


def test_a_system_that_lists_no_mounts_is_taken_as_it_is(monkeypatch):
    monkeypatch.setattr(filesystem, "MOUNTS", Path("/nowhere/mounts"))
    assert network_mount(Path("w.db")) is None


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\"), min_size=1))
def test_what_the_kernel_escapes_is_read_back(name):
    escaped = "".join(
        f"\\{ord(character):03o}" if character in " \t\n" else character for character in name
    )
    assert filesystem._unescape(escaped) == name


@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite:///file:{}?uri=true"])
@pytest.mark.parametrize("create", [True, False])
def test_such_a_database_is_refused_with_the_way_out(mounted, form, create):
    folder = mounted(("home", "nfs4", "rw"))
    (folder / "home").mkdir()
    url = resolve_url(form.format(folder / "home" / "w.db"), {})
    with pytest.raises(UrlRefused, match=r"\(nfs4 at .*local disk, or a PostgreSQL") as caught:
        Database.open(url, create=create)
    assert caught.value.exit_code == 2
    assert list((folder / "home").iterdir()) == []
