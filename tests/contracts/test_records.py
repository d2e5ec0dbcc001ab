"""What the query API reads is what the row says: the record of rows that the job's own steps wrote."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from api.profiles import ProfileReader, Record
from kintsugi.demo_data import journeys
from pipelines.local_job import LocalJob
from schemas import arrow
from schemas.log_record import AnyRecord
from store.client import Store
from tests.worlds import World, lines

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STORED = "FROM kintsugi_store.profile_rows FINAL WHERE workspace = {w:String} AND is_tombstone = 0"
_PLAIN = (
    "members", "identity_grade", "robot", "stage", "tags", "segments", "first_channel", "last_channel", "owner",
    "event_count",
)  # fmt: skip
_MAPS = ("traits", "sealed_traits", "points", "identity_points")


class Counting(Store):
    """A store that knows how many statements were asked of it."""

    asked = 0

    def query_arrow(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        external: Mapping[str, pa.Table] | None = None,
    ) -> pa.Table:
        self.asked += 1
        return super().query_arrow(sql, parameters, external)


@pytest.fixture(scope="module")
def world(store: Store, tmp_path_factory: pytest.TempPathFactory) -> World:
    home = tmp_path_factory.mktemp("records")
    made = World(home, f"records-{home.name}", segments=("{name: warm, when: behaviour_score >= 2}",))
    events = [event for batch in journeys(8, 400, date(2026, 11, 1), 19) for event in batch.events]
    opened: list[AnyRecord] = [made.opened("g1"), made.activated("g1"), made.date("2026-11-20")]
    LocalJob(store, home, seed=1).run(lines([*opened, *made.events(events)]))
    return made


def stored(store: Store, world: World) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.query_arrow(f"SELECT * {_STORED}", {"w": world.name}).to_pylist()
    return rows


def test_a_record_says_what_its_row_says(store: Store, world: World) -> None:
    rows = stored(store, world)
    assert len(rows) > 50
    reader = ProfileReader(store)
    found = reader.find(world.name, [row["profile_id"] for row in rows], are_profiles=True)
    for row in rows:
        record, profile = Record.of(row["record"]), found[row["profile_id"]].profile
        assert {name: getattr(record, name) for name in _PLAIN} == {name: row[name] for name in _PLAIN}
        assert {name: getattr(record, name) for name in _MAPS} == {name: dict(row[name]) for name in _MAPS}
        decaying = [(part["rule"], part["day"], part["amount"]) for part in row["decaying"]]
        first = _EPOCH.date()
        assert [(r, first + timedelta(d), a) for r, d, a in record.decaying] == decaying
        assert profile is not None
        for name in ("first_seen_at", "last_seen_at", "next_change_on", "version"):
            assert getattr(profile, name) == row[name], name
    for filled in ("sealed_traits", "decaying", "segments", "owner", "next_change_on"):
        assert any(row[filled] for row in rows), filled


def test_a_record_holds_the_identifiers_of_its_members(store: Store, world: World) -> None:
    shown = ", ".join(field.name for field in arrow.HELD)
    sql = f"SELECT {shown} FROM kintsugi_store.identifiers WHERE workspace = {{w:String}}"
    known = {row[0]: row for row in store.query_rows(sql, {"w": world.name})}
    for row in stored(store, world):
        held = Record.of(row["record"]).held
        assert sorted(held) == [known[member] for member in row["members"]]


def test_rows_from_before_the_record_show_the_same(store: Store, world: World, tmp_path: Path) -> None:
    reader = ProfileReader(store)
    ids = sorted(row["profile_id"] for row in stored(store, world))[:5]
    before = reader.find(world.name, ids)
    names = [name for name in arrow.PROFILE_ROWS.names if name not in ("held", "version")]
    older = store.query_arrow(
        f"SELECT {', '.join(names)}, version + 1 AS version {_STORED} AND profile_id IN {{ids:Array(String)}}",
        {"w": world.name, "ids": ids},
    )
    store.insert_arrow("kintsugi_store.profile_rows", older)
    after = reader.find(world.name, ids)
    for profile_id in ids:
        old, new = before[profile_id].profile, after[profile_id].profile
        assert old is not None
        assert new is not None
        assert new.version == old.version + 1
        assert new.identifiers == old.identifiers


def test_a_profile_is_read_in_one_statement_and_any_identifier_in_two(store: Store, world: World) -> None:
    counting = Counting(store.settings)
    reader = ProfileReader(counting)
    reader.in_force(world.name)
    rows = sorted(stored(store, world), key=lambda row: row["profile_id"])[-20:]
    for are_profiles, most in ((True, 1), (False, 2)):
        counting.asked = 0
        wanted = "profile_id" if are_profiles else "members"
        ids = [row[wanted] if are_profiles else row[wanted][-1] for row in rows]
        found = reader.find(world.name, ids, are_profiles=are_profiles)
        assert all(each.profile for each in found.values())
        assert counting.asked <= most
    counting.close()
