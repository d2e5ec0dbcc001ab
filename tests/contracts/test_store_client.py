"""The job's and the API's way to the store: Arrow in and out, external tables, and what happens when it
fails.
"""

import datetime as dt
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from schemas.errors import Problem
from store.client import Store, StoreRefused, StoreSettings, StoreUnavailable, connect
from store.migrate import Migration, migrate, migrations, reset
from tests.stores import TOKEN, running_endpoint

TIME = pa.timestamp("us", "UTC")
WORKSPACE = "client-test"
AT = dt.datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=dt.UTC)
DAY = dt.date(2026, 11, 21)

PROFILE_ROWS = pa.schema(
    [
        ("workspace", pa.string()),
        ("generation", pa.string()),
        ("profile_id", pa.string()),
        ("is_tombstone", pa.uint8()),
        ("members", pa.list_(pa.string())),
        ("traits", pa.map_(pa.string(), pa.string())),
        ("points", pa.map_(pa.string(), pa.int64())),
        (
            "decaying",
            pa.list_(pa.struct([("rule", pa.string()), ("day", pa.date32()), ("amount", pa.int64())])),
        ),
        ("last_seen_at", TIME),
        ("event_count", pa.uint64()),
        ("as_of", pa.date32()),
        ("next_change_on", pa.date32()),
        ("version", pa.uint64()),
    ]
)


def _profiles() -> pa.Table:
    row = {
        "workspace": WORKSPACE,
        "generation": "g",
        "profile_id": "a" * 32,
        "is_tombstone": 0,
        "members": ["a" * 32, "b" * 32],
        "traits": [("city", "上海"), ("it's", "")],
        "points": [("price_page", -(2**62))],
        "decaying": [{"rule": "price_page", "day": DAY, "amount": -8000}],
        "last_seen_at": AT,
        "event_count": 3,
        "as_of": DAY,
        "next_change_on": None,
        "version": 2**63,
    }
    rest = row | {"profile_id": "c" * 32, "members": [], "traits": [], "points": [], "decaying": []}
    return pa.Table.from_pylist([row, rest | {"next_change_on": dt.date(2099, 12, 31)}], schema=PROFILE_ROWS)


@pytest.fixture
def numbers() -> pa.Table:
    return pa.table({"id": pa.array(["a", "b"]), "n": pa.array([1, None], pa.uint32())})


def test_every_type_of_column_comes_back_as_it_went(store: Store) -> None:
    sent = _profiles()
    assert store.insert_arrow("kintsugi_store.profile_rows", sent) == 2
    names = ", ".join(PROFILE_ROWS.names)
    sql = (
        f"SELECT {names} FROM kintsugi_store.profile_rows WHERE workspace = {{w:String}} ORDER BY profile_id"
    )
    found = store.query_arrow(sql, {"w": WORKSPACE})
    assert found.to_pylist() == sent.to_pylist()
    assert [field.type for field in found.schema if not pa.types.is_nested(field.type)] == [
        field.type for field in PROFILE_ROWS if not pa.types.is_nested(field.type)
    ]


def test_the_earliest_copy_of_a_fact_is_kept(store: Store) -> None:
    schema = pa.schema(
        [(name, pa.string()) for name in ("workspace", "a", "b", "example_event")]
        + [("day", pa.date32()), ("received_at", TIME)]
    )
    row = {"workspace": WORKSPACE, "a": "1", "b": "2", "example_event": "e", "day": DAY}
    for minutes in (5, 0, 3):
        received_at = AT + dt.timedelta(minutes=minutes)
        store.insert_arrow(
            "kintsugi_store.links", pa.Table.from_pylist([row | {"received_at": received_at}], schema=schema)
        )
    sql = "SELECT received_at FROM kintsugi_store.links FINAL WHERE workspace = {w:String}"
    assert store.query_rows(sql, {"w": WORKSPACE}) == [(AT,)]


def test_weights_of_a_generation_come_back(store: Store) -> None:
    schema = pa.schema(
        [
            ("workspace", pa.string()),
            ("generation", pa.string()),
            ("opened_at", TIME),
            ("ruleset", pa.string()),
            ("weights", pa.map_(pa.string(), pa.list_(pa.uint32()))),
        ]
    )
    row = {"workspace": WORKSPACE, "generation": "g", "opened_at": AT, "ruleset": "{}"}
    sent = pa.Table.from_pylist([row | {"weights": [("price_page", [2**30, 2**29])]}], schema=schema)
    store.insert_arrow("kintsugi_store.generations", sent)
    sql = f"SELECT {', '.join(schema.names)} FROM kintsugi_store.generations WHERE workspace = {{w:String}}"
    assert store.query_arrow(sql, {"w": WORKSPACE}).to_pylist() == sent.to_pylist()


def test_external_tables_join_a_query(store: Store, numbers: pa.Table) -> None:
    sql = "SELECT id, n, {x:String} AS x FROM sent ORDER BY id"
    assert store.query_rows(sql, {"x": "it's"}, {"sent": numbers}) == [("a", 1, "it's"), ("b", None, "it's")]
    assert store.query_rows("SELECT count() AS n FROM sent", external={"sent": numbers.slice(0, 0)}) == [(0,)]


def test_external_tables_of_every_type(store: Store) -> None:
    sent = _profiles()
    found = store.query_arrow("SELECT * FROM sent ORDER BY profile_id", external={"sent": sent})
    assert found.to_pylist() == sent.to_pylist()


def test_an_insert_select_reads_external_tables(store: Store, numbers: pa.Table) -> None:
    store.execute(
        "INSERT INTO kintsugi_store.progress SELECT {w:String}, id, now64(6) FROM sent WHERE n > 0",
        {"w": WORKSPACE},
        {"sent": numbers},
    )
    sql = "SELECT segment FROM kintsugi_store.progress WHERE workspace = {w:String}"
    assert store.query_rows(sql, {"w": WORKSPACE}) == [("a",)]


def test_a_long_list_travels_as_external_data(store: Store) -> None:
    ids = pa.table({"id": [f"{i:032x}" for i in range(50_000)]})
    assert store.query_rows("SELECT uniqExact(id) AS n FROM ids", external={"ids": ids}) == [(50_000,)]


def test_a_long_statement_may_come_with_external_tables(store: Store, numbers: pa.Table) -> None:
    sql = f"SELECT id FROM sent WHERE id != '{'é' * 50_000}' ORDER BY id"
    assert store.query_rows(sql, external={"sent": numbers}) == [("a",), ("b",)]


def test_an_empty_result_has_its_columns(store: Store) -> None:
    found = store.query_arrow("SELECT 1 AS a, 'x' AS b WHERE 0")
    assert (found.num_rows, found.schema.names) == (0, ["a", "b"])
    assert store.query_rows("SELECT 1 AS a WHERE 0") == []


def test_an_empty_batch_is_no_insert(store: Store) -> None:
    assert store.insert_arrow("kintsugi_store.no_such_table", _profiles().slice(0, 0)) == 0


def test_a_refusal_carries_the_code(store: Store) -> None:
    with pytest.raises(StoreRefused, match="UNKNOWN_TABLE") as raised:
        store.query_rows("SELECT * FROM kintsugi_store.nope")
    assert raised.value.code == 60
    with pytest.raises(StoreRefused) as raised:
        store.insert_arrow("kintsugi_store.progress", pa.table({"nope": [1]}))
    assert raised.value.code != 0


def test_threads_share_a_store(store: Store) -> None:
    def ask(i: int) -> bool:
        return store.query_rows("SELECT {i:Int64} AS i", {"i": i}) == [(i,)]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))


def test_no_proxy_stands_before_loopback(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert os.environ["http_proxy"]
    assert connect(store.settings.url, token=TOKEN).query_rows("SELECT 1 AS x") == [(1,)]


def test_what_does_not_answer_is_unavailable() -> None:
    nobody = connect("http://127.0.0.1:9", patience=0.2)
    with pytest.raises(StoreUnavailable) as raised:
        nobody.query_rows("SELECT 1")
    assert (raised.value.code, raised.value.status) == ("store_unavailable", 503)
    assert nobody.ping() is False


def test_a_wrong_token_is_refused_at_once(store: Store) -> None:
    with pytest.raises(StoreRefused) as raised:
        connect(store.settings.url, token="wrong").query_rows("SELECT 1")
    assert raised.value.code == 516


def test_settings_pass_through_json() -> None:
    settings = StoreSettings(url="http://127.0.0.1:1", token="t")
    assert StoreSettings.from_json(settings.to_json()) == settings
    with pytest.raises(ValueError, match="http://host:port"):
        connect("127.0.0.1:8123")


@pytest.mark.parametrize("of", ["database = 'kintsugi_store' AND engine != 'View'", "database = 'kintsugi'"])
def test_every_table_and_column_has_a_comment(store: Store, of: str) -> None:
    """Tables, and the public views; the views of kintsugi_store are only joints between the two."""
    tables = f"SELECT name, comment FROM system.tables WHERE {of}"
    columns = (
        "SELECT table, name FROM system.columns WHERE comment = '' AND (database, table) IN "
        f"(SELECT database, name FROM system.tables WHERE {of})"
    )
    found = store.query_rows(tables)
    assert len(found) > 5
    assert [name for name, comment in found if not comment] == []
    assert store.query_rows(columns) == []


def test_migrating_again_does_nothing(store: Store) -> None:
    assert migrate(store) == []
    rows = store.query_rows(
        "SELECT number, name, sha256 FROM kintsugi_store.migrations FINAL ORDER BY number"
    )
    assert rows == [(migration.number, migration.name, migration.sha256) for migration in migrations()]


def test_an_applied_migration_never_changes(store: Store) -> None:
    first, *rest = migrations()
    changed = Migration(first.number, first.name, first.text + "-- more\n")
    with pytest.raises(Problem, match=rf"{first.name} was applied in another form"):
        migrate(store, [changed, *rest])


def test_a_reset_store_is_migrated_anew(tmp_path: Path) -> None:
    with running_endpoint(tmp_path / "data") as endpoint:
        store = Store(endpoint.settings)
        everything = [migration.name for migration in migrations()]
        assert migrate(store) == everything
        reset(store)
        assert store.query_rows("SELECT name FROM system.databases WHERE startsWith(name, 'kintsugi')") == []
        assert migrate(store) == everything
        store.close()


def test_hits_of_an_older_store_are_hits_of_the_new_one(tmp_path: Path) -> None:
    with running_endpoint(tmp_path / "data") as endpoint:
        store = Store(endpoint.settings)
        migrate(store, [each for each in migrations() if each.number < 11])
        for day in (2, 1):  # a copy that was not merged yet is later
            store.execute(
                "INSERT INTO kintsugi_store.rule_hits SELECT 'w', 'g', iid, hit.1, 'e1',"
                f" '2026-03-0{day} 08:00:00', '2026-03-0{day}', hit.2, hit.3, ['u1', 'p1']"
                " FROM (SELECT arrayJoin(['u1', 'p1']) AS iid,"
                " arrayJoin([('*', 0, ''), ('paper', 2000, 'a'), ('form', 5000, '')]) AS hit)"
            )
        store.execute(
            "INSERT INTO kintsugi_store.rule_hits VALUES"
            " ('w', 'g', 'u2', '*', 'e2', '2026-03-05 08:00:00', '2026-03-05', 0, 'probe', ['u2'])"
        )
        assert migrate(store)[:2] == ["0011_event_hits.sql", "0012_rule_hits.sql"]
        rows = store.query_rows(
            "SELECT identifier_id, event_id, toString(day), robot, arrayZip(rules, amounts, keys), identifiers"
            " FROM kintsugi_store.event_hits FINAL ORDER BY identifier_id"
        )
        matched = [
            {"1": "form", "2": 5000, "3": ""},
            {"1": "paper", "2": 2000, "3": "a"},
        ]
        assert rows == [
            ("p1", "e1", "2026-03-01", "", matched, ["u1", "p1"]),
            ("u1", "e1", "2026-03-01", "", matched, ["u1", "p1"]),
            ("u2", "e2", "2026-03-05", "probe", [], ["u2"]),
        ]
        store.close()
