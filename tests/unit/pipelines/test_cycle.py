"""A cycle of scoring: how it asks the store."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pyarrow as pa
import pytest

from identity.rules import parse_rules
from pipelines.cycle import Cycle
from pipelines.generations import Ruleset
from pipelines.moments import Judge
from schemas.arrow import IDS
from scoring.ruleset import parse_scoring
from store.client import Store, StoreSettings
from tests.worlds import IDENTITY, SCORING


def test_what_every_cycle_asks_is_asked_together() -> None:
    """Each question waits until all four are under way: one behind the other, they would wait for ever."""
    together = Barrier(4)

    def ask(sql: str, touched: pa.Table) -> pa.Table:
        together.wait(10)
        return pa.table({"day": pa.array([], pa.int32())})

    rules = Ruleset(parse_rules(IDENTITY, lambda *_: ""), parse_scoring(SCORING))
    judge = Judge(Store(StoreSettings(url="http://127.0.0.1:1", patience=0.0)))
    members = pa.array([["a"], ["b", "c"]], IDS)
    with ThreadPoolExecutor(8) as threads:
        cycle = Cycle(ask, judge, "w", "g", rules, 20_000, "", members).at_once(threads.submit)
        assert cycle.said == []
    assert not together.broken
    with pytest.raises(KeyError):  # no answer was made up: this one has no column of members
        _ = cycle.events
