"""Exit with 0 if the server in this container answers /healthz with 200; else print the answer."""

import os
import socket
import sys

SECONDS = 2.5  # Compose allows three, and keeps no output after that
LONGEST = 3500  # bytes: the engine keeps 4096; the end of a traceback says most

try:
    # Without urllib: its import would take longer than the request.
    address = "127.0.0.1", int(os.environ.get("PORT") or 8000)
    with socket.create_connection(address, SECONDS) as server:
        server.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        head, _, body = server.makefile("rb").read().partition(b"\r\n\r\n")
except (OSError, ValueError) as error:
    sys.exit(f"healthz: {error}")
status = head.split()[1:2]
if status != [b"200"]:
    code = b"".join(status).decode() or "no answer"
    sys.exit(f"healthz: {code}\n{body.decode(errors='replace')[-LONGEST:]}")
