"""Identity of things: every id is a keyed BLAKE2b-16, written as 32 lower-case hex characters.

Invariant: one thing has one id on every machine that holds the workspace's pepper, and nobody without the pepper
can test a guess (phones have only eleven digits). Fields are length-prefixed, so no two lists of fields share
an encoding; a domain tag keeps kinds apart.
"""

from collections.abc import Callable
from hashlib import blake2b
from itertools import pairwise
from struct import Struct

_LENGTH = Struct(">I").pack

ID_LENGTH = 32
"""Characters of an id, everywhere: tables, Arrow, API."""


def keyed_id(pepper: bytes, kind: str, *fields: bytes) -> str:
    """Id of a thing of `kind` that is fully described by `fields`.

    >>> keyed_id(b"pepper", "link", b"ab", b"c") == keyed_id(b"pepper", "link", b"a", b"bc")
    False
    """
    return blake2b(_framed(kind.encode(), *fields), digest_size=16, key=pepper).hexdigest()


def ids_of(pepper: bytes, kind: str, *fields: bytes) -> Callable[[bytes], str]:
    """A function of the last field: `keyed_id` where all but the last are the same, so that they are hashed once.

    >>> ids_of(b"pepper", "link", b"ab")(b"c") == keyed_id(b"pepper", "link", b"ab", b"c")
    True
    """
    common = blake2b(_framed(kind.encode(), *fields), digest_size=16, key=pepper)

    def id_of(last: bytes) -> str:
        hashed = common.copy()
        hashed.update(_LENGTH(len(last)) + last)
        return hashed.hexdigest()

    return id_of


def _framed(*fields: bytes) -> bytes:
    return b"".join([part for field in fields for part in (_LENGTH(len(field)), field)])


def identifier_id(pepper: bytes, namespace: str, scope: str, value: str) -> str:
    """Id of an identifier; `value` is its normal form, `scope` is empty where the namespace has none."""
    return identifier_ids(pepper, namespace, scope)(value.encode())


def identifier_ids(pepper: bytes, namespace: str, scope: str) -> Callable[[bytes], str]:
    """Ids of the identifiers of a namespace and scope by normal form."""
    return ids_of(pepper, "identifier", namespace.encode(), scope.encode())


def event_ids(pepper: bytes, workspace: str) -> Callable[[bytes], str]:
    """Ids of a workspace's events by canonical body, as the log holds it (docs/contracts.md, "Events")."""
    return ids_of(pepper, "event", workspace.encode())


def reject_id(pepper: bytes, workspace: str, code: str, raw: bytes) -> str:
    """Id of a reject: the same bytes refused for the same reason are one reject."""
    return keyed_id(pepper, "reject", workspace.encode(), code.encode(), raw)


def ranges(count: int, most: int) -> list[tuple[str, str]]:
    """Bounds [low, high) of ids that cut `count` evenly spread ids into slices of about `most`.

    >>> ranges(5, 10), ranges(11, 10)
    ([('', 'g')], [('', '80000000'), ('80000000', 'g')])
    """
    parts = max(1, -(-count // most))
    bounds = ["", *(f"{n * (1 << 32) // parts:08x}" for n in range(1, parts)), "g"]
    return list(pairwise(bounds))


def ordered(a: str, b: str) -> tuple[str, str]:
    """The two ends of a link in their canonical order, smaller id first."""
    return (a, b) if a < b else (b, a)
