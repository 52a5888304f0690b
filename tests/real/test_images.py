"""On a real engine, an image follows the files that it is built from."""

from __future__ import annotations

from tests.real.conftest import Copy


def test_up_builds_what_no_longer_fits_and_says_so(stack: Copy) -> None:
    def up(*options: str) -> tuple[bool, bool]:
        done = stack.inv("up", *options)
        assert done.returncode == 0, done.stderr
        return "building it anew" in done.stderr, "left as it is" in done.stderr

    assert up() == (False, False)
    append(stack, "server/task_api/urls.py", "# an edit, mounted\n")
    assert up() == (False, False)
    append(stack, "server/Dockerfile", "# another image\n")
    assert up("--no-build") == (False, True)
    assert up() == (True, False)
    assert up() == (False, False)


def append(stack: Copy, name: str, text: str) -> None:
    with (stack.root / name).open("a") as file:
        file.write(text)
