"""The program ``composed``: every verb without a ``tasks.py``, and the verb ``init``.

In a folder with a ``tasks.py`` that imports the verbs, ``composed`` runs that file as ``inv`` does.
"""


def main() -> None:
    """Run the program; a signal during the imports ends it quietly."""
    from composed.signals import end_quietly

    end_quietly()
    from composed import __version__
    from composed.own import Own
    from composed.program import run

    run(Own(version=__version__, name="Composed", binary="composed", binary_names=["composed"]))


if __name__ == "__main__":  # a session calls `python -m composed.door`
    main()
