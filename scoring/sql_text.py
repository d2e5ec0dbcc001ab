"""Values as SQL text of ClickHouse; everything that goes into a statement passes through here.

Invariant: what `quote` returns is one string literal, whatever characters the value holds.
"""

from collections.abc import Iterable
from datetime import date, timedelta

_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def quote(value: str) -> str:
    r"""The text as a literal.

    >>> print(quote("O'Neil\\"))
    'O\'Neil\\'
    """
    return f"'{value.translate(_ESCAPES)}'"


def array(values: Iterable[str | int]) -> str:
    """Texts or integers as an array literal."""
    return "[" + ", ".join(quote(v) if isinstance(v, str) else str(v) for v in values) + "]"


def texts(values: Iterable[str]) -> str:
    """Texts as the right side of IN."""
    return "(" + ", ".join(quote(v) for v in values) + ")"


def day_literal(day: int) -> str:
    """A day (days since 1970-01-01) as Date32."""
    return f"toDate32('{(date(1970, 1, 1) + timedelta(days=day)).isoformat()}')"
