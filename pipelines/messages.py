"""What travels between the steps: small tuples, key first, with Arrow batches inside where there is much of it.

Invariant: the key is the land slot before `land` and the workspace after it, and a message is plain data (bytes, str,
int, tuples), so a checkpoint written by one release can be read by the next.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from schemas import arrow


class Message(NamedTuple):
    """One element of a stream between two steps."""

    key: str
    what: str
    """`batch`, `evidence`, `touched`, `said` (identifiers that people spoke of), `control` or `trailer`."""
    body: Any
    copy: str = ""
    """Of a control record or trailer: which copy of how many, "0/2"; `resolve` acts when all are in."""


def key_of(message: Message) -> str:
    """The key that Flink partitions by."""
    return message[0]


Body = dict[str, tuple[int, bytes]]
"""Rows by table: an Arrow record batch without its schema (`schemas.arrow.TABLES` has it), its length and its LZ4."""

_LZ4 = pa.Codec("lz4")


def pack(rows: dict[str, list[tuple[Any, ...]]]) -> Body:
    """Rows by table, a quarter of their size: they wait in Flink's state, where each byte is copied several times."""
    batches = {
        name: arrow.batch(name, list(zip(*of_table, strict=True))).serialize()
        for name, of_table in rows.items()
        if of_table
    }
    return {name: (data.size, _LZ4.compress(data, asbytes=True)) for name, data in batches.items()}


def unpack(bodies: list[Body]) -> dict[str, pa.Table]:
    """Tables of many packed bodies, one table each."""
    batches: dict[str, list[pa.RecordBatch]] = {}
    for body in bodies:
        for name, (size, data) in body.items():
            batches.setdefault(name, []).append(
                pa.ipc.read_record_batch(_LZ4.decompress(data, size), arrow.TABLES[name])
            )
    return {name: pa.Table.from_batches(parts).combine_chunks() for name, parts in batches.items()}


def by_workspace(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each workspace."""
    names = table["workspace"].unique().to_pylist()
    for name in names:
        yield name, table if len(names) == 1 else table.filter(pc.equal(table["workspace"], name))
