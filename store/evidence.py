"""Evidence of identity as the store holds it, for those that derive from all of it at once.

Invariant: what is read may be more than what was told, never less; a link is read before its ends, so what is given has
them, or is told later.
"""

import pyarrow as pa

from identity.bulk import Evidence
from identity.evidence import Link, Sighting
from schemas.ids import ranges
from store.client import Store

SLICE = 400_000
"""Stored links that one query reads."""
_LINKS = """SELECT a, b, toInt32(min(day)) AS first, toInt32(max(day)) AS last FROM kintsugi_store.links
WHERE workspace = {w:String} AND day <= toDate32({d:Int32}) AND a >= {low:String} AND a < {high:String} GROUP BY a, b"""
_SIGHTINGS = """SELECT identifier_id, any(kind) AS kind, toInt32(min(day)) AS first FROM kintsugi_store.sightings
WHERE workspace = {w:String} AND day <= toDate32({d:Int32}) AND identifier_id >= {low:String}
    AND identifier_id < {high:String} GROUP BY identifier_id ORDER BY identifier_id"""
_LATER = " WHERE workspace = {w:String} AND day > toDate32({d:Int32})"


def evidence_until(store: Store, workspace: str, date: int) -> Evidence:
    """All evidence of days up to `date` (days since 1970-01-01)."""
    ask = {"w": workspace, "d": date}
    ((count,),) = store.query_rows(
        "SELECT count() FROM kintsugi_store.links WHERE workspace = {w:String}", {"w": workspace}
    )
    slices = [{**ask, "low": low, "high": high} for low, high in ranges(count, SLICE)]
    links = pa.concat_tables([store.query_arrow(_LINKS, of_slice) for of_slice in slices])
    sightings = [store.query_arrow(_SIGHTINGS, of_slice) for of_slice in slices]
    return Evidence.of(pa.concat_tables(sightings), links)


def evidence_after(store: Store, workspace: str, date: int) -> tuple[list[Sighting], list[Link]]:
    """All evidence of days after `date`."""
    ask = {"w": workspace, "d": date}
    links = store.query_rows(f"SELECT DISTINCT a, b, toInt32(day) FROM kintsugi_store.links{_LATER}", ask)
    sightings = store.query_rows(
        f"SELECT DISTINCT identifier_id, kind, toInt32(day) FROM kintsugi_store.sightings{_LATER}", ask
    )
    seen = {(identifier, day) for identifier, _, day in sightings}
    known = [Link(*link) for link in links if (link[0], link[2]) in seen and (link[1], link[2]) in seen]
    return [Sighting(*row) for row in sightings], known
