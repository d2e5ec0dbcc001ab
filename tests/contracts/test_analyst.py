"""The login `analyst` at the embedded endpoint: the public views and nothing else, whatever is tried."""

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import httpx
import pytest
import sqlalchemy
from clickhouse_connect.driver.client import Client

from store.client import Store
from store.endpoint.app import MOST_ANALYSTS
from store.migrate import migrate
from tests.stores import ANALYST_TOKEN, EndpointProcess, running_endpoint

SECRET = "marzipan-under-the-bridge"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    """A migrated store with a secret in a table, in another database and in a file beside it."""
    path = tmp_path_factory.mktemp("analyst") / "data"
    with running_endpoint(path) as running:
        store = Store(running.settings)
        migrate(store)
        (path.parent / "secret.txt").write_text(SECRET)
        store.execute("CREATE DATABASE other")
        store.execute("CREATE TABLE other.t (s String) ENGINE = MergeTree ORDER BY s")
        store.execute(f"INSERT INTO other.t VALUES ('{SECRET}')")
        store.execute(
            "INSERT INTO kintsugi_store.events (workspace, event_id, type, event, properties)"
            f" VALUES ('w', 'e', 'track', 'E', '{SECRET}')"
        )
        store.close()
        yield running


@pytest.fixture(scope="module")
def http(endpoint: EndpointProcess) -> Iterator[httpx.Client]:
    headers = {"X-ClickHouse-User": "analyst", "X-ClickHouse-Key": ANALYST_TOKEN}
    with httpx.Client(base_url=endpoint.url, headers=headers, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def client(endpoint: EndpointProcess) -> Iterator[Client]:
    made = clickhouse_connect.get_client(
        host="127.0.0.1", port=endpoint.port, username="analyst", password=ANALYST_TOKEN, database="kintsugi"
    )
    yield made
    made.close_connections()


ESCAPES = [
    line.partition(" ## ")[0]
    for line in (Path(__file__).parent / "analyst_escapes.sql").read_text().splitlines()
    if line and not line.startswith("--")
]
ALLOWED = [
    line
    for line in (Path(__file__).parent / "analyst_questions.sql").read_text().splitlines()
    if line and not line.startswith("--")
]


@pytest.mark.parametrize("sql", ESCAPES)
def test_no_way_out(endpoint: EndpointProcess, http: httpx.Client, sql: str, tmp_path: Path) -> None:
    secret, target = endpoint.path.parent / "secret.txt", tmp_path / "written"
    asked = sql.replace("FILE", str(secret)).replace("TARGET", str(target)).replace("\\n", "\n")
    answer = http.post("/", content=asked.encode())
    assert answer.status_code in (400, 403, 404, 501), answer.text
    assert SECRET not in answer.text
    assert not target.exists()


def test_the_list_of_ways_out_is_long_and_says_nothing_twice() -> None:
    assert len(ESCAPES) == len(set(ESCAPES)) >= 130


@pytest.mark.parametrize("sql", ALLOWED)
def test_what_analysts_ask_is_answered(http: httpx.Client, sql: str) -> None:
    answer = http.post("/", content=sql.encode())
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "query",
    ["readonly=0", "readonly=2", "max_execution_time=0", "allow_introspection_functions=1", "enable_analyzer=0",
     "max_result_rows=0", "format_schema=FILE", "format_template_row=FILE", "database=other&x=1", "limit=1",
     "output_format_schema=FILE", "additional_table_filters={}", "http_max_tries=9"],
)  # fmt: skip
def test_no_parameter_changes_what_is_fixed(http: httpx.Client, query: str) -> None:
    name = query.partition("=")[0]
    ask = f"SELECT value FROM system.settings WHERE name = '{name}'".encode()
    answer = http.post(f"/?{query}", content=ask)
    # refused, or the engine's own default, which changes nothing
    assert answer.status_code in (403, 404) or answer.text == http.post("/", content=ask).text


def test_the_database_is_always_the_public_one(http: httpx.Client) -> None:
    for database in ("other", "kintsugi_store", "default", "system"):
        answer = http.post(f"/?database={database}", content=b"SELECT currentDatabase()")
        assert answer.text == "kintsugi\n"
        assert http.post(f"/?database={database}", content=b"SELECT * FROM events").status_code == 404


@pytest.mark.parametrize(
    ("name", "value", "sql"),
    [("t", "kintsugi_store.events", "SELECT * FROM {t:Identifier}"),
     ("t", "events", "SELECT * FROM kintsugi_store.{t:Identifier}"),
     ("d", "kintsugi_store", "SELECT * FROM {d:Identifier}.events"),
     ("f", "/etc/passwd", "SELECT file({f:String})"),
     ("f", "file", "SELECT arrayMap({f:Identifier}, ['/etc/passwd'])"),
     ("f", "file", "WITH {f:Identifier} AS g SELECT arrayMap(g, ['/etc/passwd'])"),
     ("f", "FILE", "SELECT * FROM file({f:String})")],
)  # fmt: skip
def test_parameters_name_no_table(http: httpx.Client, name: str, value: str, sql: str) -> None:
    answer = http.post("/", params={f"param_{name}": value}, content=sql.encode())
    assert answer.status_code in (400, 403, 404), answer.text
    assert SECRET not in answer.text
    assert "root:" not in answer.text


def test_external_data_and_inserts_are_refused(http: httpx.Client) -> None:
    form = {"x": ("x", b"1\n")}
    structure = "a String, b String DEFAULT file('/etc/passwd')"
    answer = http.post("/", params={"query": "SELECT * FROM x", "x_structure": structure}, files=form)
    assert answer.status_code == 403
    assert http.post("/", content=b"INSERT INTO kintsugi_store.events FORMAT TSV\n1").status_code == 403


def test_sessions_keep_nothing(http: httpx.Client) -> None:
    for sql in (b"CREATE TEMPORARY TABLE t (a Int8)", b"SET readonly = 0", b"USE other"):
        assert http.post("/?session_id=s", content=sql).status_code in (403, 404)
    assert http.post("/?session_id=s", content=b"SELECT currentDatabase()").text == "kintsugi\n"


def test_limits_hold(http: httpx.Client) -> None:
    rows = http.post("/?wait_end_of_query=1", content=b"SELECT number FROM numbers(2000000)")
    assert "Code: 396" in rows.text
    memory = http.post(
        "/?wait_end_of_query=1",
        content=b"SELECT length(arrayJoin([arrayMap(x -> randomString(1000), range(3000000))]))",
    )
    assert "Code: 241" in memory.text
    readonly = http.post("/", content=b"SELECT value FROM system.settings WHERE name = 'readonly'")
    assert readonly.text == "1\n"


def test_wrong_and_missing_tokens_are_nobody(endpoint: EndpointProcess) -> None:
    for user, token in (
        ("analyst", "x"),
        ("analyst", ""),
        ("default", ANALYST_TOKEN),
        ("nobody", ANALYST_TOKEN),
    ):
        answer = httpx.post(endpoint.url, content=b"SELECT 1", auth=(user, token), trust_env=False)
        assert answer.status_code == 401


def test_many_analysts_at_once_are_told_to_come_back(http: httpx.Client) -> None:
    slow = b"SELECT sum(sipHash64(number)) FROM numbers(4000000)"
    with concurrent.futures.ThreadPoolExecutor(MOST_ANALYSTS + 4) as pool:
        asked = [pool.submit(http.post, "/", content=slow) for _ in range(MOST_ANALYSTS + 4)]
        codes = [each.result().status_code for each in asked]
    assert 503 in codes
    assert set(codes) <= {200, 503}


def test_clickhouse_connect_reads_as_analyst(client: Client) -> None:
    assert client.query("SELECT count() FROM profiles").result_rows == [(0,)]
    assert client.query_df("SELECT * FROM kintsugi.profiles").empty
    assert client.query_arrow("SELECT profile_id FROM profiles").num_rows == 0
    assert client.query("SELECT {n:Int32} + 1", parameters={"n": 1}).result_rows == [(2,)]
    assert "profiles" in client.command("SHOW TABLES")


def test_sqlalchemy_reads_as_analyst(endpoint: EndpointProcess) -> None:
    engine = sqlalchemy.create_engine(
        f"clickhousedb://analyst:{ANALYST_TOKEN}@127.0.0.1:{endpoint.port}/kintsugi"
    )
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count() FROM profiles")).scalar() == 0
    inspector = sqlalchemy.inspect(engine)
    assert "profiles" in inspector.get_table_names(schema="kintsugi")
    assert inspector.has_table("profiles", schema="kintsugi")
    assert {"profile_id", "stage"} <= {
        column["name"] for column in inspector.get_columns("profiles", schema="kintsugi")
    }
    engine.dispose()
