# /// script
# requires-python = ">=3.11"
# dependencies = ["pexpect==4.9.0", "playwright==1.65.2", "pyte==0.8.2"]
# ///
"""Makes the pictures of the README anew, from a real stack.

    uv run docs/pictures/make.py

Needs Docker, git, bash, curl, Chromium and the ports 8000 and 5433 free. The stack is a clone
of the last commit in a temporary folder; the script removes the stack and the folder.
``stack.svg`` is drawn by hand.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.request import Request, urlopen

from playwright.sync_api import sync_playwright
from terminal import Recording

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
URL = "http://127.0.0.1:8000"
PASSWORD = "only-for-the-picture"  # noqa: S105
SESSION = (
    "./inv up",
    "./inv migrate",
    "curl localhost:8000/api/tasks "
    """-H 'Content-Type: application/json' -d '{"title": "Buy milk"}'""",
    "./inv down",
    "./inv up",
    "curl localhost:8000/api/tasks",
)
TASKS = (
    {"title": "Water the plants", "done": True},
    {"title": "Call the dentist", "due": "2027-01-11"},
    {"title": "Read the migration of Tuesday", "description": "Rehearse it first."},
    {"title": "Send the invoice", "done": True},
    {"title": "Repair the bicycle"},
)


def main() -> None:
    """Record the first session, then photograph the admin and the page of the API."""
    refuse_taken_ports(8000, 5433)
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        copy = Path(folder, "task-api")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
        environment = environment_without_settings(copy)
        try:
            record(copy, environment)
            photograph(copy, environment)
        finally:
            destroy = ["./inv", "destroy", "--no-snapshot", "--yes"]
            subprocess.run(destroy, cwd=copy, env=environment, check=True)


def refuse_taken_ports(*ports: int) -> None:
    """End the script when a port is taken: the pictures show the default ports."""
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                sys.exit(f"Port {port} is taken; stop its owner, then make the pictures again.")


def environment_without_settings(copy: Path) -> dict[str, str]:
    """Return the process environment without any setting of the stack."""
    lines = (copy / ".env.example").read_text().splitlines()
    settings = {line.removeprefix("# ").partition("=")[0] for line in lines if "=" in line}
    return {name: value for name, value in os.environ.items() if name not in settings | {"CI"}}


def record(copy: Path, environment: dict[str, str]) -> None:
    """Type the first session of the README and write ``first-session.svg``."""
    recording = Recording(copy, environment)
    for command in SESSION:
        recording.type(command)
    recording.write(HERE / "first-session.svg")


def photograph(copy: Path, environment: dict[str, str]) -> None:
    """Write ``admin.png`` and ``api.png``, of a running stack with some tasks."""
    superuser = {
        "DJANGO_SUPERUSER_USERNAME": "ada",
        "DJANGO_SUPERUSER_EMAIL": "ada@example.org",
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    }
    subprocess.run(
        ["./inv", "createsuperuser"],
        cwd=copy,
        env=environment | superuser,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    for task in TASKS:
        body, headers = json.dumps(task).encode(), {"Content-Type": "application/json"}
        urlopen(Request(f"{URL}/api/tasks", body, headers)).close()  # noqa: S310
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=["--no-sandbox"] if os.getuid() == 0 else [],
        )
        page = browser.new_page(viewport={"width": 1240, "height": 600})
        page.goto(f"{URL}/admin/task_api/task/")
        page.fill("#id_username", "ada")
        page.fill("#id_password", PASSWORD)
        page.press("#id_password", "Enter")
        page.wait_for_selector("#result_list")
        page.screenshot(path=HERE / "admin.png")
        page.set_viewport_size({"width": 1000, "height": 540})
        page.goto(f"{URL}/api/docs")
        page.wait_for_selector(".opblock")
        page.screenshot(path=HERE / "api.png")
        browser.close()


if __name__ == "__main__":
    main()
