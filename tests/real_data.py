"""Real data that lies beside a checkout, as events; tests that need it skip without it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import commits
from benchmarks.commits import Commits, Days
from schemas.events import admit
from schemas.log_record import Item
from tests.load import SOAK

COMMIT_STEP = 1 if SOAK else 11
"""A run of the whole stack takes every so manieth row of the commits; `make soak` takes all."""
COMMITS = -(-130_341 // COMMIT_STEP)
RETAIL = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "online_retail.parquet"

_EPOCH = date(1970, 1, 1).toordinal()

needs_commits = pytest.mark.skipif(
    not commits.DATA.exists(), reason="shared/data/commit_identities.parquet does not lie beside the checkout"
)
needs_retail = pytest.mark.skipif(
    not RETAIL.exists(), reason="shared/data/online_retail.parquet does not lie beside the checkout"
)


@cache
def commit_items() -> tuple[list[Item], Commits]:
    """Events of the commits in the order received, admitted, and what the oracle must know: days of each pair."""
    items, found = [], Commits()
    for event, _ in islice(commits.events(), 0, None, COMMIT_STEP):
        items.append(admit(event))
        email, handle = (entry["id"] for entry in event["context"]["externalIds"])
        day = datetime.fromisoformat(event["timestamp"]).astimezone(UTC).toordinal() - _EPOCH
        known = found.days.get((email, handle), Days(day, day))
        found.days[email, handle] = Days(min(known.first, day), max(known.last, day))
    return items, found


def orders() -> pd.DataFrame:
    """One row per invoice of a known customer: customer_id, invoice_no, at, day, revenue (pence)."""
    lines = pd.read_parquet(RETAIL)
    lines = lines[lines.customer_id.notna()]
    lines["pence"] = (lines.quantity * (lines.unit_price * 100).round()).astype("int64")
    found = lines.groupby(["customer_id", "invoice_no"], observed=True).agg(
        at=("invoice_date", "min"), pence=("pence", "sum")
    )
    found = found.reset_index()
    found["day"] = found["at"].dt.strftime("%Y-%m-%d")
    return found


def order_events(found: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Each invoice as an `Order Completed` event of its customer."""
    columns = (found[name].tolist() for name in ("customer_id", "invoice_no", "at", "pence"))
    for customer, invoice, at, pence in zip(*columns, strict=True):
        yield {
            "type": "track", "event": "Order Completed", "userId": str(customer), "messageId": invoice,
            "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}Z", "properties": {"revenue": pence / 100},
        }  # fmt: skip
