"""The verbs that start, show and stop the services."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from invoke import Context, task

from composed.errors import EngineError, NotFoundError, NotReadyError, ValueWrongError, end_with
from composed.modes import prepare_stack
from composed.stack import BuildOptions, Service, Stack, UpOptions, as_json, as_table, url_of
from composed.terminal import show
from composed.verbs.data import NO_SNAPSHOT, NO_VERIFY, YES, confirm

SERVICE = "Only this service; may be repeated."
TIMEOUT = "Seconds to wait for every service, once images are there."


@task(
    iterable=["service"],
    help={
        "service": SERVICE,
        "build": "Build the images first, even when they exist.",
        "no-build": "Never build; fail when an image is missing.",
        "timeout": TIMEOUT,
        "migrate": "Apply pending migrations as well, after a snapshot.",
        "strict-ports": "Fail when a port is taken, instead of taking the next free one.",
    },
)
def up(
    c: Context,
    service: list[str],
    build: bool = False,
    no_build: bool = False,
    timeout: str = "120",
    migrate: bool = False,
    strict_ports: bool = False,
) -> None:
    """Start the stack and wait until it is ready."""
    if build and no_build:
        raise ValueWrongError("--build and --no-build exclude each other.")
    stack = prepare_stack(c, make_env=True)
    chosen = build or (False if no_build else None)
    options = UpOptions(service, chosen, _seconds(timeout), strict_ports=strict_ports)
    if migrate:
        from composed.data.migrate import migrate as apply_migrations

        options = replace(options, migrate=partial(apply_migrations, stack))
    stack.remember()
    try:
        _start(stack, lambda: stack.runner.up(options))
    except EngineError:
        stack.forget()  # nothing was started, and the way out is another mode
        raise


@task(
    auto_shortflags=False,  # a slip would cost data
    help={
        "volumes": "Remove the database's volume too, WITH ALL ITS DATA. Asks, and takes a "
        "snapshot first.",
        "no-snapshot": NO_SNAPSHOT,
        "no-verify": NO_VERIFY,
        "yes": YES,
    },
)
def down(
    c: Context,
    volumes: bool = False,
    no_snapshot: bool = False,
    no_verify: bool = False,
    yes: bool = False,
) -> None:
    """Stop and remove the containers; the data stays."""
    stack = prepare_stack(c)
    stop: Callable[[], int] = stack.runner.down
    if volumes:
        from composed.data.actions import down_volumes

        confirm(
            stack,
            f"Remove all data of {stack.name}?",
            "down --volumes",
            yes,
            no_snapshot,
            no_verify,
            stack.belongings.unsaved(all_of_it=False),
        )
        stop = partial(down_volumes, stack, safety=not no_snapshot, verify=not no_verify)
    end_with(stop())
    stack.forget()


@task(iterable=["service"], help={"service": SERVICE, "timeout": TIMEOUT})
def restart(c: Context, service: list[str], timeout: str = "120") -> None:
    """Recreate the containers, so that a changed .env counts."""
    stack = prepare_stack(c, make_env=True)
    options = UpOptions(service, timeout=_seconds(timeout))
    _start(stack, lambda: stack.runner.restart(options))


@task(help={"json": "Print JSON, for programs."})
def ps(c: Context, json: bool = False) -> None:
    """List the services with state, health, address and age."""
    stack = prepare_stack(c)
    show((as_json if json else as_table)(stack, stack.runner.ps()))


@task(
    iterable=["service"],
    help={
        "service": SERVICE,
        "follow": "Go on until Ctrl-C.",
        "tail": "Only the last lines, as many as this.",
        "since": "Only newer lines: 10m, 2h, 2026-01-31T12:00:00.",
    },
)
def logs(
    c: Context, service: list[str], follow: bool = False, tail: str = "", since: str = ""
) -> None:
    """Show the logs of the services."""
    if tail not in ("", "all") and not (tail.isascii() and tail.isdecimal()):
        raise ValueWrongError(f"--tail is {tail!r}.", "Valid: a whole number of lines, or all.")
    end_with(prepare_stack(c).runner.logs(service, follow=follow, tail=tail, since=since))


@task(
    help={"pull": "Ask the registry for newer base images.", "no-cache": "Build every layer anew."}
)
def build(c: Context, pull: bool = False, no_cache: bool = False) -> None:
    """Build the images."""
    end_with(prepare_stack(c, make_env=True).runner.build(BuildOptions(pull, no_cache)))


@task(name="open")
def open_(c: Context) -> None:
    """Print the stack's URL, and open it in the browser when on a terminal."""
    stack = prepare_stack(c)
    url = url_of(stack.runner.ps())
    if not url:
        raise NotFoundError(f"{stack.project.backend} is not running.", "Type: inv up")
    print(url)
    if sys.stdout.isatty() and not c.config.run.dry:  # a pipe wants the URL, not lynx
        import webbrowser

        webbrowser.open(url)


def _start(stack: Stack, start: Callable[[], list[Service]]) -> None:
    """Start and show the services, with the backend's complaints; on failure, keep a bundle."""
    from composed.doctor.bundle import bundle_on_failure
    from composed.doctor.doctor import complaints

    with bundle_on_failure(stack):
        services = start()
        show(as_table(stack, services))
        if about := stack.about_data():
            show(f"\n{about}")
        url = url_of(services)
        for complaint in complaints(stack, url) if url else ():
            if complaint.fatal:
                raise NotReadyError(complaint.sentence, f"Type: {complaint.cure}")
            show(f"\n{complaint.sentence}\n  Type: {complaint.cure}")


def _seconds(value: str) -> int:
    """Return the option as a number; Invoke's own ``int`` would end in a traceback."""
    if value.isascii() and value.isdecimal():
        return int(value)
    raise ValueWrongError(f"--timeout is {value!r}.", "Valid: a whole number of seconds.")
