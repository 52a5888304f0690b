"""On a real engine, an image follows the files of the recipe."""

from __future__ import annotations

import pytest

from tests.stacks.copies import Copy
from tests.stacks.fixtures import NewCopy

FILES = ("docker-compose.yml", "docker-compose.production.yml", "docker-compose.test.yml")


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


@pytest.mark.parametrize("modes", ["u=rwX,go=", "u=rwX,go=X", "a=rX,a-w"])
def test_an_image_is_readable_whatever_the_modes_of_the_checkout(
    modes: str, new_copy: NewCopy
) -> None:
    copy = new_copy()
    script = copy.root / "server/start.sh"
    script.write_text("#!/bin/sh\necho started\n")
    script.chmod(0o755)
    assert copy.run("chmod", "-R", modes, "server").returncode == 0
    files = f"COMPOSE_FILE={':'.join(FILES)}"
    copy.append(".env", f"{files}\nALLOWED_HOSTS=127.0.0.1\nHTTPS_ONLY=false\nAPP_UID=4321\n")

    copy.ok("up", "--migrate")

    assert copy.ask("/healthz").status == 200
    assert copy.ok("shell", "--", "/app/start.sh") == "started\n"
    unreadable = ("find", "/app", "!", "-readable", "-o", "-type", "d", "!", "-executable")
    assert copy.ok("shell", "--", *unreadable) == ""
    if modes == "u=rwX,go=":
        copy.ok("dc", "--", "run", "--build", "--rm", "test", "pytest", "--collect-only", "-q")
        image = f"{copy.project}-backend-production"
        assert copy.run("docker", "image", "rm", "--force", image)
