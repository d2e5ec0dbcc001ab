"""The endpoint answers clickhouse-connect as a ClickHouse server would; the same suite fits a server's
URL.
"""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import pandas as pd
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from clickhouse_connect.driver.external import ExternalData
from clickhouse_connect.driver.summary import QuerySummary

from store.client import Store
from store.endpoint.encoding import ENCODINGS, pack, unpack
from tests.stores import TOKEN

FAILS_LATE = "SELECT throwIf(number = 450000) FROM numbers(1000000) SETTINGS max_block_size = 65536"


@pytest.fixture(scope="module")
def client(store: Store) -> Iterator[Client]:
    """clickhouse-connect as anyone would open it, sessions and compression on."""
    parts = urlsplit(store.settings.url)
    client = clickhouse_connect.get_client(host=parts.hostname, port=parts.port, password=TOKEN)
    client.command("CREATE DATABASE IF NOT EXISTS contract")
    yield client
    client.command("DROP DATABASE contract")
    client.close_connections()


@pytest.fixture
def table(client: Client) -> Iterator[str]:
    """An empty table (a UInt64, b String)."""
    client.command("CREATE TABLE contract.t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    yield "contract.t"
    client.command("DROP TABLE contract.t SYNC")


class Wire:
    """Plain HTTP, for what a client library hides."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        key = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": TOKEN}
        self.connection.request(method, path, body, headers=key if headers is None else headers)
        response = self.connection.getresponse()
        return response, response.read()


@pytest.fixture
def wire(store: Store) -> Iterator[Wire]:
    wire = Wire(store.settings.url)
    yield wire
    wire.connection.close()


def test_rows_come_as_python_values(client: Client) -> None:
    assert client.query("SELECT number, toString(number) FROM numbers(3)").result_rows == [
        (0, "0"),
        (1, "1"),
        (2, "2"),
    ]
    assert client.query("SELECT number FROM numbers(0)").result_rows == []
    assert client.server_version.split(".")[0].isdigit()


def test_ten_million_cells_pass_packed(client: Client) -> None:
    assert len(client.query_np("SELECT number FROM numbers(1000000)")) == 1_000_000


def test_inserts_of_every_kind_are_counted(client: Client, table: str) -> None:
    assert client.insert(table, [[1, "x"], [2, "é"]], column_names=["a", "b"]).written_rows == 2
    assert client.insert_df(table, pd.DataFrame({"a": [3], "b": ["y"]})).written_rows == 1
    assert (
        client.insert_arrow(table, pa.table({"a": pa.array([4], pa.uint64()), "b": ["z"]})).written_rows == 1
    )
    assert client.raw_insert(table, ["a", "b"], "5\tq\n6\tr\n", fmt="TSV").written_rows == 2
    summary = client.command(f"INSERT INTO {table} VALUES (7, 'FORMAT')")
    assert isinstance(summary, QuerySummary)
    rows = client.query(f"SELECT a, b FROM {table} ORDER BY a").result_rows
    assert rows == [(1, "x"), (2, "é"), (3, "y"), (4, "z"), (5, "q"), (6, "r"), (7, "FORMAT")]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_bodies_travel_packed_both_ways(client: Client, wire: Wire, table: str, encoding: str) -> None:
    assert (
        client.raw_insert(
            table, ["a", "b"], pack(b"1\tx\n", encoding), fmt="TSV", compression=encoding
        ).written_rows
        == 1
    )
    key = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": TOKEN, "Accept-Encoding": encoding}
    query = b"SELECT number FROM numbers(1000)"
    response, body = wire.ask("POST", "/?enable_http_compression=1&wait_end_of_query=1", query, key)
    assert response.headers["Content-Encoding"] == encoding
    assert unpack(body, encoding, 100_000).splitlines()[-1] == b"999"


def test_external_data_and_parameters_meet_in_one_statement(client: Client, table: str) -> None:
    client.insert(table, [[1, "x"], [2, "it's"]], column_names=["a", "b"])
    sent = ExternalData(file_name="ids", data=b"1\n2\n", fmt="TSV", structure="id UInt64")
    sent.add_file(file_name="names", data=b"it's\t5\n", fmt="TSV", types=["String", "Decimal(9, 2)"])
    where = "a IN (SELECT id FROM ids) AND b IN (SELECT _1 FROM names) AND b = {b:String}"
    sql = f"SELECT b FROM {table} WHERE {where}"
    assert client.query(sql, parameters={"b": "it's"}, external_data=sent).result_rows == [("it's",)]
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT * FROM ids")


def test_an_insert_select_reads_external_data(client: Client, table: str) -> None:
    sent = ExternalData(file_name="rows", data=b"9\tnine\n", fmt="TSV", structure=["a UInt64", "b String"])
    client.command(f"INSERT INTO {table} SELECT a, b FROM rows", external_data=sent)
    assert client.query(f"SELECT * FROM {table}").result_rows == [(9, "nine")]


def test_settings_hold_for_one_request(client: Client) -> None:
    sql = "SELECT getSetting('max_block_size'), getSetting('log_comment')"
    settings = {"max_block_size": 1234, "log_comment": "it's 100%\\"}
    changed = client.query(sql, settings=settings).result_rows[0]
    assert changed == (1234, "it's 100%\\")
    assert client.query(sql).result_rows[0][0] != 1234


def test_settings_hold_for_one_request_without_a_session(store: Store, wire: Wire) -> None:
    _, body = wire.ask("POST", "/?max_block_size=1234", b"SELECT getSetting('max_block_size')")
    assert body == b"1234\n"
    _, body = wire.ask("POST", "/", b"SELECT getSetting('max_block_size')")
    assert body != b"1234\n"


def test_a_read_only_request_cannot_write(client: Client, table: str) -> None:
    read_only = {"readonly": "1"}
    assert client.query(f"SELECT count() FROM {table}", settings=read_only).result_rows == [(0,)]
    with pytest.raises(DatabaseError, match="READONLY"):
        client.command(f"INSERT INTO {table} VALUES (1, 'x')", settings=read_only)
    with pytest.raises(DatabaseError, match="READONLY"):
        client.raw_insert(table, ["a", "b"], "1\tx\n", fmt="TSV", settings=read_only)
    with pytest.raises(DatabaseError, match="READONLY"):
        client.query("SELECT * FROM file('/etc/passwd', LineAsString)", settings=read_only)
    client.insert(table, [[1, "x"]], column_names=["a", "b"])


@pytest.mark.parametrize("has_session", [True, False])
def test_a_client_may_choose_its_database(store: Store, table: str, has_session: bool) -> None:
    parts = urlsplit(store.settings.url)
    client = clickhouse_connect.get_client(
        host=parts.hostname,
        port=parts.port,
        password=TOKEN,
        database="contract",
        autogenerate_session_id=has_session,
    )
    client.insert("t", [[1, "x"]], column_names=["a", "b"])
    assert client.query("SELECT currentDatabase(), * FROM t").result_rows == [("contract", 1, "x")]


def test_a_session_keeps_its_temporary_table(client: Client, wire: Wire) -> None:
    client.command("CREATE TEMPORARY TABLE mine (x Int8)")
    client.insert("mine", [[5]], column_names=["x"])
    assert client.command("SELECT sum(x) FROM mine") == 5
    response, _ = wire.ask("POST", "/", b"SELECT * FROM mine")
    assert response.headers["X-ClickHouse-Exception-Code"] == "60"


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELECT nope", 400, 47),
        ("SELECT * FROM nope", 404, 60),
        ("SELECT * FROM nope.nope", 404, 81),
        ("SELEC 1", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT nope()", 404, 46),
        ("SELECT throwIf(1)", 500, 395),
        (
            "SELECT sleep(3) SETTINGS max_execution_time = 1, function_sleep_max_microseconds_per_block = 0",
            408,
            159,
        ),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", 501, 48),
        ("INSERT INTO contract.nope FORMAT TSV\n1", 404, 60),
        ("SELECT 1 FORMAT Nope", 400, 73),
    ],
)
@pytest.mark.parametrize("waits", [0, 1])
def test_an_error_has_its_status_and_its_number(
    wire: Wire, client: Client, sql: str, status: int, code: int, waits: int
) -> None:
    response, body = wire.ask("POST", f"/?wait_end_of_query={waits}", sql.encode())
    assert (response.status, response.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert body.startswith(b"Code: %d. DB::Exception: " % code)


def test_a_bad_row_is_an_error_and_nothing_is_inserted(client: Client, table: str) -> None:
    with pytest.raises(DatabaseError, match="CANNOT_PARSE"):
        client.raw_insert(table, ["a", "b"], "1\tx\nnot a number\ty\n", fmt="TSV")
    assert client.command(f"SELECT count() FROM {table}") == 0


def test_a_time_limit_ends_a_query(client: Client) -> None:
    began = time.monotonic()
    with pytest.raises(DatabaseError) as raised:
        client.query("SELECT count() FROM numbers(1000000000000)", settings={"max_execution_time": 1})
    assert raised.value.code == 159
    assert time.monotonic() - began < 5


def test_an_error_in_mid_stream_is_an_error(client: Client) -> None:
    with (
        pytest.raises(DatabaseError, match="395") as raised,
        client.query_row_block_stream(FAILS_LATE) as blocks,
    ):
        for _ in blocks:
            pass
    assert raised.value.code == 395


def test_a_stream_that_fails_has_no_proper_end(wire: Wire) -> None:
    wire.connection.request(
        "POST", "/", FAILS_LATE, {"X-ClickHouse-Key": TOKEN, "X-ClickHouse-User": "default"}
    )
    response = wire.connection.getresponse()
    assert response.status == 200
    with pytest.raises(http.client.IncompleteRead) as raised:
        response.read()
    tag = response.headers["X-ClickHouse-Exception-Tag"].encode()
    assert raised.value.partial.endswith(b" " + tag + b"\r\n__exception__\r\n")
    assert b"\r\n__exception__\r\n" + tag + b"\r\nCode: 395." in raised.value.partial


def test_a_stream_is_complete(client: Client) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
        assert sum(len(block) for block in blocks) == 300_000
    with client.query_row_block_stream("SELECT number FROM numbers(0)") as blocks:
        assert list(blocks) == []
    with client.query_arrow_stream("SELECT number FROM numbers(300000)") as batches:
        assert sum(batch.num_rows for batch in batches) == 300_000


@pytest.mark.parametrize("path", ["/", "/?wait_end_of_query=1", "/?session_id=leak"])
def test_nobody_reads_the_rows_of_a_failed_query(wire: Wire, path: str) -> None:
    """chDB puts the partial result of a failed query in front of the connection's next result."""
    for _ in range(5):
        try:
            wire.ask("POST", path, FAILS_LATE.encode())
        except http.client.IncompleteRead:
            wire.connection.close()
        assert wire.ask("POST", path, b"SELECT 'mine'")[1] == b"mine\n"


def test_parallel_requests_keep_their_answers_apart(store: Store) -> None:
    def ask(i: int) -> bool:
        if i % 7 == 0:
            with pytest.raises(DatabaseError):
                _plain(store).query(FAILS_LATE)
        rows = _plain(store).query("SELECT {i:Int64}", parameters={"i": i}).result_rows
        return list(rows) == [(i,)]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(60)))


_local = threading.local()


def _plain(store: Store) -> Client:
    """A client per thread, without session."""
    if not hasattr(_local, "client"):
        parts = urlsplit(store.settings.url)
        _local.client = clickhouse_connect.get_client(
            host=parts.hostname, port=parts.port, password=TOKEN, autogenerate_session_id=False
        )
    client: Client = _local.client
    return client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-ClickHouse-Key": TOKEN + "x", "X-ClickHouse-User": "default"},
        {"X-ClickHouse-Key": TOKEN, "X-ClickHouse-User": "root"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Bearer nope"},
    ],
)
def test_without_the_token_there_is_no_query(wire: Wire, headers: dict[str, str]) -> None:
    response, _ = wire.ask("POST", "/", b"SELECT 1", headers)
    assert (response.status, response.headers["X-ClickHouse-Exception-Code"]) == (401, "516")


def test_the_token_is_taken_where_clients_put_it(wire: Wire, store: Store) -> None:
    parts = urlsplit(store.settings.url)
    clickhouse_connect.get_client(host=parts.hostname, port=parts.port, access_token=TOKEN).command(
        "SELECT 1"
    )
    assert wire.ask("GET", f"/?query=SELECT+1&user=default&password={TOKEN}", headers={})[1] == b"1\n"
    with pytest.raises((DatabaseError, OperationalError)):
        clickhouse_connect.get_client(host=parts.hostname, port=parts.port, password="wrong")


def test_ping_is_open_and_the_rest_is_not_there(wire: Wire) -> None:
    assert wire.ask("GET", "/ping", headers={})[1] == b"Ok.\n"
    assert wire.ask("GET", "/replicas_status", headers={})[1] == b"Ok.\n"
    assert wire.ask("GET", "/", headers={})[1] == b"Ok.\n"
    assert wire.ask("GET", "/play")[0].status == 404


def test_get_only_reads(wire: Wire) -> None:
    response, _ = wire.ask("GET", "/?query=CREATE+DATABASE+nope")
    assert (response.status, response.headers["X-ClickHouse-Exception-Code"]) == (403, "164")
    assert (
        wire.ask("GET", "/?query=SELECT+1+FORMAT+JSONCompact")[0].headers["X-ClickHouse-Format"]
        == "JSONCompact"
    )


@pytest.mark.parametrize("path", ["/?nonsense=1", "/?decompress=1", "/?compress=1", "/?max_threads=many"])
def test_what_is_not_understood_is_refused(wire: Wire, path: str) -> None:
    response, body = wire.ask("POST", path, b"SELECT 1")
    assert response.status >= 400
    assert body.startswith(b"Code: ")


def test_an_answer_tells_its_id_and_what_it_read(wire: Wire) -> None:
    response, _ = wire.ask("POST", "/?query_id=q-1&wait_end_of_query=1", b"SELECT * FROM numbers(10)")
    summary: dict[str, Any] = json.loads(response.headers["X-ClickHouse-Summary"])
    assert response.headers["X-ClickHouse-Query-Id"] == "q-1"
    assert (summary["read_rows"], summary["result_rows"]) == ("10", "10")


@pytest.mark.parametrize("waits", [0, 1])
def test_a_query_ends_when_its_client_goes_away(store: Store, waits: int) -> None:
    gone = Wire(store.settings.url)
    sql = "SELECT sum(number) FROM numbers(1000000000000) GROUP BY number % 3"
    headers = {"X-ClickHouse-Key": TOKEN, "X-ClickHouse-User": "default"}
    gone.connection.request("POST", f"/?query_id=gone-{waits}&wait_end_of_query={waits}", sql, headers)
    running = f"SELECT 1 FROM system.processes WHERE Settings['log_comment'] = 'gone-{waits}'"
    _eventually(lambda: store.query_rows(running) == [(1,)])
    gone.connection.close()
    _eventually(lambda: store.query_rows(running) == [])


def test_a_client_can_kill_its_query(client: Client, store: Store) -> None:
    def run() -> int:
        try:
            _plain(store).query(
                "SELECT count() FROM numbers(1000000000000)", settings={"query_id": "kill-me"}
            )
        except DatabaseError as error:
            return int(error.code or 0)
        return 0

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        sql = "SELECT 1 FROM system.processes WHERE Settings['log_comment'] = 'kill-me'"
        _eventually(lambda: store.query_rows(sql) == [(1,)])
        client.command("KILL QUERY WHERE query_id = 'kill-me' ASYNC")
        assert running.result(timeout=10) == 394


def _eventually(holds: Any) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
