"""Opaque identifiers: what every value goes through, and all there is for the forms `exact` and `lower`."""

import unicodedata

_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn")


def tidy(value: str) -> str:
    """NFKC, without control, format and unassigned characters, without space around it.

    >>> tidy(" ｗx１２\u200b3 ")
    'wx123'
    """
    if value.isascii() and value.isprintable():
        return value.strip()
    text = unicodedata.normalize("NFKC", value)
    kept = "".join(c for c in text if unicodedata.category(c) not in _HIDDEN)
    return unicodedata.normalize("NFKC", kept).strip()


def exact(value: str) -> str | None:
    """The tidy value, case kept; None when nothing is left."""
    return tidy(value) or None


def lower(value: str) -> str | None:
    """The tidy value in lower case."""
    return tidy(value).lower() or None
