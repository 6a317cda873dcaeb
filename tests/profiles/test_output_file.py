"""Results are written whole or not at all, and never in place of what is not a regular file."""

import os
import resource
import socket
import stat
import threading
from pathlib import Path

import pytest

from profiles.errors import InputError
from profiles.output_file import check, write_text


def test_a_new_file_has_the_mode_of_any_other_and_nothing_is_left_beside_it(tmp_path: Path):
    write_text(tmp_path / "new", "ä")
    (tmp_path / "other").touch()
    assert (tmp_path / "new").read_text() == "ä"
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "other"]


def test_a_replaced_file_keeps_mode_and_owner_and_links_to_it_stay(tmp_path: Path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 1234, 1234)
    owner = real.stat().st_uid
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.stat().st_uid == owner


@pytest.mark.skipif(os.geteuid() != 0, reason="devices are made by root")
def test_a_device_stays_a_device(tmp_path: Path):
    """`-o /dev/null` as root once put a plain file in its place."""
    null = tmp_path / "null"
    os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    write_text(null, "text")
    assert null.is_char_device()


def test_a_pipe_gets_the_text_and_stays(tmp_path: Path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "text")
    reader.join()
    assert got == ["text"]
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".", "is a directory"),
        ("socket", "is a socket"),
        ("none/file", "there is no directory"),
        ("loop", "symbolic links"),
        ("x" * 300, "name too long"),
        ("a\0b", "null"),
        ("plain/file", "[Nn]ot a directory"),
    ],
)
def test_what_cannot_be_written_is_said_before_and_when_it_is_tried(
    tmp_path: Path, name: str, said: str
):
    (tmp_path / "plain").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    for act in (lambda: check(tmp_path / name), lambda: write_text(tmp_path / name, "text")):
        with pytest.raises(InputError, match=f"(?i){said}"):
            act()
    assert not list(tmp_path.glob(".*.part"))


def test_a_full_disk_leaves_the_old_file_and_no_part_of_the_new(tmp_path: Path):
    """A limit on the size of files stands for the disk: writing fails in the middle."""
    import signal

    path = tmp_path / "file"
    path.write_text("old")
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot be written"):
            write_text(path, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
