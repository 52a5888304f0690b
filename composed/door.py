"""The program ``composed``: every verb without a ``tasks.py``, and the verb ``init``.

In a folder with a ``tasks.py`` that imports the verbs, ``composed`` runs that file as ``inv`` does.
"""


def main() -> None:
    """Run the program; a signal during the imports ends it quietly.

    The imports take a fifth of a second, in which Python would answer Ctrl-C with a traceback.
    """
    import _signal  # type: ignore[import-not-found]  # `signal` takes a millisecond

    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        if _signal.getsignal(number) != _signal.SIG_IGN:  # nohup stays nohup
            _signal.signal(number, _signal.SIG_DFL)

    from composed.signals import end_quietly

    end_quietly()  # the pipe too
    from composed import __version__
    from composed.own import Own
    from composed.program import run

    run(Own(version=__version__, name="Composed", binary="composed", binary_names=["composed"]))


if __name__ == "__main__":  # a session calls `python -m composed.door`
    main()
