"""Rows in columns, or in blocks where the terminal is too narrow."""

from __future__ import annotations

from collections.abc import Sequence

from composed.terminal import columns

__all__ = ["table"]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows, headings first, in columns as wide as their widest cell.

    A terminal too narrow for that would break the lines: it gets a block for each row.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = ((cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    lines = ["  ".join(row).rstrip() for row in cells]
    if 0 < columns() < max(map(len, lines)):
        return "\n\n".join(_block(rows[0], row) for row in rows[1:])
    return "\n".join(lines)


def _block(headings: Sequence[str], row: Sequence[str]) -> str:
    pairs = zip(headings, row, strict=True)
    return "\n".join(f"{heading.lower()}: {cell}" for heading, cell in pairs if cell)
