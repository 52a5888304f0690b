"""Writers over HTTP, which note each row that the server has confirmed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException

from tests.stacks.copies import Copy
from tests.stacks.postgresql import sql
from tests.stacks.sqlite import rows
from tests.web import request

WRITERS = 3


@contextmanager
def writing(url: str, name: str) -> Iterator[set[str]]:
    """Write tasks until the end of the block; yield the titles confirmed so far."""
    confirmed: set[str] = set()
    over = threading.Event()

    def write(writer: int) -> None:
        number = 0
        while not over.is_set():
            title, number = f"{name}-{writer}-{number}", number + 1
            try:
                status = request(f"{url}/api/tasks", "POST", {"title": title}).status
            except (OSError, HTTPException):
                status = 0
            if status == HTTPStatus.CREATED:
                confirmed.add(title)
            else:
                over.wait(0.02)  # closed: a client tries again

    threads = [threading.Thread(target=write, args=[writer]) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield confirmed
    finally:
        over.set()
        for thread in threads:
            thread.join()


def titles(stack: Copy, mode: str) -> set[str]:
    """Return the titles in the live database."""
    query = "SELECT title FROM task_api_task"
    if mode == "local":
        return {title for (title,) in rows(stack, query)}
    return set(sql(stack, query).splitlines())
