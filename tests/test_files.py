"""Only a regular file is read to its end or replaced; nothing waits for anything else."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from composed import files
from composed.errors import InputOutputError, RefusedError
from tests.samples import MonkeyPatch, make_socket

Make = Callable[[Path], object]


THINGS: dict[str, tuple[Make, str]] = {
    "pipe": (os.mkfifo, "it is a pipe, not a file"),
    "socket": (make_socket, "it is a socket, not a file"),
    "folder": (Path.mkdir, "Is a directory"),
    "device": (lambda file: file.symlink_to("/dev/zero"), "it is a device, not a file"),
    "loop": (lambda file: file.symlink_to(file), os.strerror(errno.ELOOP)),
}
each_thing = pytest.mark.parametrize(("make", "words"), THINGS.values(), ids=THINGS)


@each_thing
@pytest.mark.parametrize("use", [files.read, files.text, lambda f: files.replace(f, "new")])
def test_a_thing_that_is_no_file_is_named_and_stays(
    make: Make, words: str, use: Callable[[Path], object], tmp_path: Path
) -> None:
    file = tmp_path / "thing"
    make(file)
    before = file.lstat()

    with pytest.raises(OSError, match=words):
        use(file)

    assert (file.lstat().st_ino, file.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["pipe", "socket", "folder"])
def test_a_thing_that_is_no_file_is_not_removed(name: str, tmp_path: Path) -> None:
    THINGS[name][0](tmp_path / "thing")
    (tmp_path / "link").symlink_to("thing")

    files.remove(tmp_path / "link")
    with pytest.raises(OSError, match=THINGS[name][1]):
        files.remove(tmp_path / "thing")

    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_the_null_device_is_an_empty_file_to_read_and_never_replaced() -> None:
    null = Path(os.devnull)

    assert files.text(null) == ""
    with pytest.raises(OSError, match="it is a device, not a file"):
        files.replace(null, "new")

    assert stat.S_ISCHR(null.stat().st_mode)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_has_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no file can have this name"):
        files.read(tmp_path / name)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.touch()
    os.truncate(file, 1 << 40)  # without a block of the disk

    with pytest.raises(OSError, match="it is larger than 16384 KiB"):
        files.read(file)


@pytest.mark.parametrize(
    ("content", "text"), [(b"\xef\xbb\xbfa\r\nb\r\n", "a\nb\n"), ("é\rx".encode(), "é\nx")]
)
def test_the_text_of_a_windows_editor_is_read(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)

    assert files.text(tmp_path / "file") == text


def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "inner" / "file"
    link.symlink_to(file)
    for text in ("new", "newer"):
        files.replace(link, text)

        assert (link.readlink(), file.read_text()) == (file, text)
        assert file.stat().st_mode & 0o777 == 0o600


def test_folders_and_files_are_for_the_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files.replace(tmp_path / "a/b/file", "x")
        os.close(files.opened(tmp_path / "lock", os.O_RDWR | os.O_CREAT))
    finally:
        os.umask(before)

    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", "a/b/file", "lock")]
    assert modes == [0o700, 0o700, 0o600, 0o600]


def test_a_folder_of_another_user_is_not_closed_to_that_user(
    tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)

    files.make_folder(tmp_path / "a")

    assert (tmp_path / "a").stat().st_mode & 0o055


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_makes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 1235)

    files.replace(tmp_path / "a/file", "x")
    os.close(files.opened(tmp_path / "a/lock", os.O_RDWR | os.O_CREAT))

    made = [tmp_path / name for name in ("a", "a/file", "a/lock")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(1234, 1235)}


def test_a_folder_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    (tmp_path / "link").symlink_to("nowhere")

    with pytest.raises(OSError, match="it is a file, not a folder"):
        files.make_folder(tmp_path / "data/inner")
    with pytest.raises(OSError, match="it is a broken link, not a folder"):
        files.make_folder(tmp_path / "link")


def test_each_fault_has_a_cure(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    file = tmp_path / "my file"
    file.touch()
    denied, full = OSError(errno.EACCES, "denied"), OSError(errno.ENOSPC, "full")

    mine = files.unusable(file, denied, "read")
    no_room = files.unusable(file, full)
    monkeypatch.setattr("os.geteuid", lambda: file.stat().st_uid + 1)
    other = files.unusable(file, denied, "read")

    assert str(mine) == (f"{file} cannot be read: denied.\n  Make it yours: chmod u+rwX '{file}'")
    assert other.hints == (f"Make it yours: sudo chown -R $USER '{file}'",)
    assert (type(mine), type(no_room), no_room.hints) == (
        RefusedError,
        InputOutputError,
        ("See the free space: df -h .",),
    )
