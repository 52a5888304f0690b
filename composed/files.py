"""Files as they stand on the disk: read only when regular, replaced only when regular.

Each fault is an :class:`OSError` whose ``strerror`` says in words what stands there. Nothing
waits for the other end of a named pipe, or for a device.
"""

import contextlib
import errno
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from composed.errors import ComposedError, InputOutputError, RefusedError

MOST = 16 << 20  # bytes of a file that is read whole

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFREG: "a file",
}
_NO_PERMISSION = (errno.EACCES, errno.EPERM)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def check(file: Path, *, writes: bool = False) -> None:
    """Raise OSError where a thing stands that is no regular file; a missing file is fine.

    The empty device ``/dev/null`` may be read.
    """
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except ValueError:
        raise _fault(file, "no file can have this name") from None
    _check_kind(file, status, writes=writes)


def _check_kind(file: Path, status: os.stat_result, *, writes: bool) -> None:
    kind = stat.S_IFMT(status.st_mode)
    is_null = kind == stat.S_IFCHR and status.st_rdev == Path(os.devnull).stat().st_rdev
    if kind == stat.S_IFDIR:
        raise _fault(file, os.strerror(errno.EISDIR), errno.EISDIR)
    if kind != stat.S_IFREG and (writes or not is_null):
        raise _fault(file, f"it is {_KINDS.get(kind, 'special')}, not a file")


def _fault(file: Path, words: str, number: int = errno.EINVAL) -> OSError:
    return OSError(number, words, str(file))


def opened(file: Path, flags: int = os.O_RDONLY) -> int:
    """Return a descriptor of a regular file; with ``O_CREAT`` a new file is the owner's alone."""
    writes = bool(flags & (os.O_WRONLY | os.O_RDWR))
    check(file, writes=writes)  # to open a device has effects, and to open a socket is ENXIO
    is_new = bool(flags & os.O_CREAT) and not file.exists()
    handle = os.open(file, flags | os.O_NONBLOCK, 0o600)
    try:
        _check_kind(file, os.fstat(handle), writes=writes)
        if is_new:
            _give(handle, file.parent)
    except OSError:
        os.close(handle)
        raise
    return handle


def read(file: Path, most: int = MOST) -> bytes:
    """Return the content of a file of at most so many bytes."""
    with open(opened(file), "rb") as stream:  # of a descriptor
        data = stream.read(most + 1)
    if len(data) > most:
        raise _fault(file, f"it is larger than {most >> 10} KiB")
    return data


def text(file: Path, most: int = MOST) -> str:
    """Return the text of a file.

    Lines end with a line feed, and a byte order mark is left out, whatever an editor on Windows
    has written.
    """
    try:
        content = read(file, most).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _fault(file, "it is not UTF-8 text", errno.EILSEQ) from None
    if "\0" in content:
        raise _fault(file, "it has a NUL in it", errno.EILSEQ)
    return content.replace("\r\n", "\n").replace("\r", "\n")


@contextlib.contextmanager
def draft(file: Path, content: str) -> Iterator[Path]:
    """Yield a file beside ``file`` with the content, for the owner alone; it is removed again."""
    import tempfile  # noqa: PLC0415  # most verbs write nothing, and `inv ps` is quick

    with tempfile.TemporaryDirectory(prefix=f"{file.name}.", dir=file.parent) as folder:
        path = Path(folder, file.name)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as stream:  # noqa: PTH123  # a file of 0600
            _give(handle, file if file.exists() else file.parent)
            stream.write(content)
        yield path


def replace(file: Path, content: str) -> None:
    """Write a file whole or not at all, for the owner alone; a link to the file stays a link."""
    check(file, writes=True)  # a pipe of /dev/fd has no path that could be resolved
    file = Path(os.path.realpath(file))
    make_folder(file.parent)
    with draft(file, content) as path:
        path.replace(file)


def remove(file: Path) -> None:
    """Remove a regular file or a link; a missing file is fine."""
    if not file.is_symlink():
        check(file, writes=True)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        file.unlink()


def make_folder(folder: Path) -> None:
    """Make a folder and the folders above, for the owner alone.

    What root makes belongs to the owner of the folder above. In a folder of another user, the
    umask decides: that user would be locked out of the own tree.
    """
    if folder.is_dir():
        return
    if os.path.lexists(folder):
        kind = _KINDS.get(stat.S_IFMT(os.lstat(folder).st_mode), "a broken link")
        raise _fault(folder, f"it is {kind}, not a folder", errno.ENOTDIR)
    make_folder(folder.parent)
    is_ours = folder.parent.stat().st_uid == os.geteuid() or not os.geteuid()
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700 if is_ours else 0o777)
        _give(folder, folder.parent)


def make_private(path: Path) -> None:
    """Take the rights of others from a file or folder; a missing one, or another user's, stays."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        status = path.stat()
        if status.st_uid == os.geteuid() and status.st_mode & 0o077:
            path.chmod(stat.S_IMODE(status.st_mode) & 0o700)


def _give(path: int | Path, model: Path) -> None:
    """Give a new file or folder of root to the owner of ``model``, where the system allows it."""
    if os.geteuid():
        return
    owner = model.stat()
    with contextlib.suppress(OSError):
        if isinstance(path, int):
            os.fchown(path, owner.st_uid, owner.st_gid)
        else:
            os.lchown(path, owner.st_uid, owner.st_gid)


def unusable(file: Path, error: OSError, use: str = "written") -> ComposedError:
    """Return the error for a file that cannot be read or written, with the command that helps."""
    named = Path(str(error.filename))
    file = named if named in file.parents else file
    problem = f"{file} cannot be {use}: {error.strerror or error}."
    if error.errno in _NO_ROOM:
        return InputOutputError(problem, "See the free space: df -h .")
    if error.errno in _NO_PERMISSION:
        place = _place_at_fault(file)
        mine = place.stat().st_uid == os.geteuid()
        cure = "chmod u+rwX" if mine else "sudo chown -R $USER"
        return RefusedError(problem, f"Make it yours: {cure} {shlex.quote(str(place))}")
    return RefusedError(problem, f"See what is there: ls -ld {shlex.quote(str(file))}")


def _place_at_fault(file: Path) -> Path:
    """Return the file, or the folder above that keeps this user out."""
    for folder in reversed(file.parents):
        if not os.access(folder, os.X_OK):
            return folder
    return file if file.exists() else file.parent
