"""A WSGI application that answers /slow after a write to the FIFO."""

import os
from pathlib import Path
from typing import Any


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    answer = b"at once"
    if environ["PATH_INFO"] == "/slow":
        Path(os.environ["ARRIVED"]).touch()
        answer = Path(os.environ["FIFO"]).read_bytes()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
