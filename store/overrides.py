"""Overrides as the log and the store hold them, brought to the form in which the pure functions take them.

Invariant: every word that was ever said is given, withdrawn ones too; which of them holds is decided by (at, id).
"""

from datetime import date

import msgspec

from identity.evidence import Override
from schemas import log_record
from store.client import Store

_EPOCH = date(1970, 1, 1).toordinal()
_decode = msgspec.json.Decoder(log_record.Override).decode


def days_of(iso: str) -> int:
    """Days since 1970-01-01 of an ISO date. Raises ValueError.

    >>> days_of("1970-02-01")
    31
    """
    return date.fromisoformat(iso).toordinal() - _EPOCH


def override_of(record: log_record.Override) -> Override:
    """The evidence that an override record is."""
    expires_on = days_of(record.expires_on) if record.expires_on else None
    return Override(record.a, record.b, record.verb, record.at, record.id, expires_on)


def overrides_of(store: Store, workspace: str, said_before: int | None = None) -> list[Override]:
    """Every override that was said in the workspace, or only those said before a moment (µs UTC)."""
    rows = store.query_rows(
        "SELECT body FROM kintsugi_store.control_records FINAL WHERE workspace = {w:String} AND kind = 'override'",
        {"w": workspace},
    )
    records = [_decode(body) for (body,) in rows]
    return [override_of(record) for record in records if said_before is None or record.at < said_before]
