"""The bundle of a failure on a real engine tells all but the secrets."""

from __future__ import annotations

from tests.stacks.fixtures import NewCopy

KEY = "an0dd/key+with=signs%and~32-characters"
PASSWORD = "p@ss/w0rd+=%&~"

LEAK = """
import base64, json, sys, urllib.parse
for secret in (SECRET_KEY, DATABASES["default"]["PASSWORD"]):
    print(repr(secret), json.dumps(secret), urllib.parse.quote(secret), file=sys.stderr)
    print("Basic", base64.b64encode(f"user:{secret}".encode()).decode(), file=sys.stderr)
    print(secret.encode().hex(), f"PASSWORD={secret}", file=sys.stderr)
import no_such_module
"""


def test_a_failed_start_is_kept_without_secrets(new_copy: NewCopy) -> None:
    copy = new_copy()
    copy.append(".env", f"SECRET_KEY='{KEY}'\nPOSTGRES_PASSWORD='{PASSWORD}'\n")
    copy.append("server/task_api/settings.py", LEAK)

    done = copy.inv("up")

    assert done.returncode == 75
    folder = copy.root / done.stderr.strip().rpartition("All that is known about it: ")[2]
    kept = {file.name: file.read_text() for file in folder.iterdir()}
    assert "no_such_module" in kept["logs.txt"]
    assert "backend" in kept["ps.txt"]
    assert "Status" in kept["health.txt"]
    assert "${SECRET_KEY:?type inv env}" in kept["config.yml"]
    assert "[secret]" in kept["logs.txt"]
    for secret in (KEY, PASSWORD):
        for spelled in (secret, secret[:9], secret.encode().hex()):
            assert not [name for name, text in kept.items() if spelled in text]
