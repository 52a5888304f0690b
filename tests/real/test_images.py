"""On a real engine, an image follows the files of the recipe."""

from __future__ import annotations

from tests.stacks.copies import Copy


def test_up_builds_a_stale_image_and_says_so(stack: Copy) -> None:
    def up(*options: str) -> tuple[bool, bool]:
        done = stack.inv("up", *options)
        assert done.returncode == 0, done.stderr
        return "building it anew" in done.stderr, "left as it is" in done.stderr

    assert up() == (False, False)
    stack.append("server/task_api/urls.py", "# an edit, mounted\n")
    assert up() == (False, False)
    stack.append("server/Dockerfile", "# another image\n")
    assert up("--no-build") == (False, True)
    assert up() == (True, False)
    assert up() == (False, False)
