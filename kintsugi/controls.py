"""Control records of the store told again, so that a job without state derives by the same rules."""

import msgspec

from pipelines.log import Log
from schemas.log_record import AnyRecord
from store.client import Store

_decode = msgspec.json.Decoder(AnyRecord).decode


def tell_again(store: Store, log: Log) -> int:
    """Append every control record as it once was, dates first, then the oldest first; the number of them.

    Harmless when repeated: they keep their (at, id). On the date in force a generation is built at once.
    """
    rows = store.query_rows(
        "SELECT body FROM kintsugi_store.control_records FINAL ORDER BY kind = 'date' DESC, at, id"
    )
    records = [_decode(body) for (body,) in rows]
    log.append(records).result(60)
    return len(records)
