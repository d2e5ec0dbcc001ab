"""chDB run one request at a time per connection, each request on a connection of its own."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from chdb import ChdbError
from chdb.state.sqlitelike import Connection, connect

from store.endpoint.faults import from_engine, refusal
from store.endpoint.gate import ANALYSTS_SETTINGS, DATABASE, LIMITS, Gate, judge_format
from store.endpoint.request import External, Request
from store.endpoint.sessions import Sessions, assign, quoted
from store.endpoint.statement import read

BASE_SETTINGS: Final = {
    "async_insert": "0",  # an insert is acknowledged when it is in its table
    "http_max_tries": "1",  # url() to a dead host fails at once
    "output_format_arrow_compression_method": "none",  # results travel over loopback
}
"""What differs here from the engine's own defaults; a request may set each otherwise."""

CONFIG: Final = Path(__file__).with_name("engine.xml")
"""What differs for the engine as a whole: how parts lie on the disk, and who waits for whom."""

_STREAMABLE: Final = frozenset(
    ["TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "JSONEachRow", "RowBinary", "Native"]
)
"""Formats whose chunks, put one behind the other, are the document."""
ENGINE_ERRORS: Final = (ChdbError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: `body` at once, or `chunks` to be read to the end or closed."""

    format: str | None
    """None where the statement has no result."""
    body: bytes = b""
    chunks: Iterator[bytes] | None = None
    summary: Mapping[str, int] = field(default_factory=dict)


class Engine:
    """The embedded engine on one directory. Thread-safe; every method blocks until its work is done.

    Raises Fault for whatever the engine refuses, here and in the chunks of an answer.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        try:
            # keeps the engine open between requests; the first connection configures it
            self._root = connect(self._url({"config-file": str(CONFIG)}))
        except ENGINE_ERRORS as error:
            raise from_engine(error) from None
        self._sessions = Sessions(lambda: connect(self._url({})))
        rows = self._read("SELECT name, value FROM system.settings").splitlines()
        self.defaults = dict(row.split("\t", 1) for row in rows)
        self._gate = Gate.of(self._root)
        self.version, self.timezone = self._read("SELECT version(), timezone()").rstrip("\n").split("\t")

    def run(self, request: Request) -> Answer:
        """Carries out one request."""
        if request.is_get and not request.statement.answers_with_rows:
            raise refusal(164, "READONLY", "GET only reads; use POST to change anything")
        settings = {"log_comment": request.query_id} | self._changes(request.settings)
        if request.session_id and "readonly" not in settings:  # a session could not be made writable again
            return self._run_in_session(request, settings)
        if request.database not in ("", "default"):
            settings["database"] = request.database
        connection: Connection | None = None
        answer: Answer | None = None
        try:
            connection = connect(self._url(settings))
            answer = _answer(connection, request, may_stream=request.may_stream)
            return answer
        except ENGINE_ERRORS as error:
            raise from_engine(error) from None
        finally:
            if connection is not None and (answer is None or answer.chunks is None):
                connection.close()

    def run_for_analyst(self, request: Request) -> Answer:
        """Carries out one request of the login that reads the public views alone: see `gate`."""
        if request.statement.data is not None or request.external:
            raise refusal(164, "READONLY", "analyst: only reads")
        for name, value in self._changes(request.settings).items():
            if not ANALYSTS_SETTINGS.fullmatch(name) and LIMITS.get(name) != value:
                raise refusal(164, "READONLY", f"analyst: the setting {name} is fixed")
        judge_format(request.result_format)
        chosen = {
            name: value for name, value in self._changes(request.settings).items() if name not in LIMITS
        }
        settings = {"log_comment": request.query_id, "database": DATABASE} | chosen | LIMITS
        connection: Connection | None = None
        answer: Answer | None = None
        try:
            connection = connect(self._url(settings))
            text = self._gate.judge(connection, request.statement.text, request.parameters)
            judged = replace(request, statement=replace(request.statement, text=text))
            answer = _answer(connection, judged, may_stream=request.may_stream)
            return answer
        except ENGINE_ERRORS as error:
            raise from_engine(error) from None
        finally:
            if connection is not None and (answer is None or answer.chunks is None):
                connection.close()

    def _run_in_session(self, request: Request, settings: Mapping[str, str]) -> Answer:
        with (
            self._sessions.use(request.session_id, request.session_timeout) as connection,
            assign(connection, settings, request.database),
        ):
            answer = _answer(connection, request, may_stream=False)
            for table in request.external:
                connection.query(f"DROP TEMPORARY TABLE `{table.name}`")
            return answer

    def ping(self) -> None:
        """Returns when the engine has run a query."""
        self._read("SELECT 1")

    def kill(self, query_id: str) -> None:
        """Tells the engine to stop the request of this id; returns at once."""
        condition = "Settings['log_comment'] = {id:String}"
        connection = connect(self._url({}))
        try:
            connection.query(f"KILL QUERY WHERE {condition} ASYNC", "TSV", params={"id": query_id})
        except ENGINE_ERRORS as error:
            raise from_engine(error) from None
        finally:
            connection.close()

    def close(self) -> None:
        """Closes sessions and engine; requests under way fail."""
        self._sessions.close()
        self._root.close()

    def _url(self, settings: Mapping[str, str]) -> str:
        """Connection string: settings in it cost a fifth of a SET statement."""
        pairs = (BASE_SETTINGS | dict(settings)).items()
        return self._path + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)

    def _changes(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Settings that differ from what holds anyway. Raises Fault 115 for names nobody knows."""
        changes = {}
        for name, value in settings.items():
            default = self.defaults.get(name)
            if default is None:
                raise refusal(115, "UNKNOWN_SETTING", f"Unknown setting or parameter '{name}'")
            if value != default:
                changes[name] = value
        return changes

    def _read(self, sql: str) -> str:
        connection = connect(self._url({}))
        try:
            return str(connection.query(sql, "TSV").bytes().decode())
        except ENGINE_ERRORS as error:
            raise from_engine(error) from None
        finally:
            connection.close()


def _answer(connection: Connection, request: Request, *, may_stream: bool) -> Answer:
    """Runs the statement on a connection that is the request's alone."""
    statement = request.statement
    for table in request.external:
        _load(connection, table)
    if statement.data is not None and statement.format is not None:
        return _insert(connection, request)
    text = statement.text
    if statement.verb == "KILL":  # the engine numbers its queries itself; the client's id is the comment
        text = re.sub(r"\bquery_id\b", "Settings['log_comment']", text)
    format_ = request.result_format
    if may_stream and statement.verb in ("SELECT", "WITH") and format_ in _STREAMABLE:
        return Answer(format_, chunks=_stream(connection, text, format_, request.parameters))
    result = connection.query(text, format_, params=dict(request.parameters))
    summary = {
        "read_rows": result.storage_rows_read(),
        "read_bytes": result.storage_bytes_read(),
        "written_rows": result.rows_written(),
        "written_bytes": result.bytes_written(),
        "result_rows": result.rows_read(),
        "elapsed_ns": int(result.elapsed() * 1e9),
    }
    return Answer(format_ if statement.answers_with_rows else None, result.bytes() or b"", summary=summary)


def _insert(connection: Connection, request: Request) -> Answer:
    statement = request.statement
    assert statement.data is not None
    for name, value in request.parameters.items():
        connection.query("SET param_" + name + " = " + quoted(value))
    inserter = connection.send_insert(statement.text + "\n", statement.format)
    inserter.append(statement.data)
    done = inserter.finish()
    written = {"written_rows": done.rows_written, "written_bytes": done.bytes_written}
    return Answer(None, summary=written | {"elapsed_ns": int(done.elapsed * 1e9)})


def _load(connection: Connection, table: External) -> None:
    """External data becomes a temporary table of the connection."""
    create = read(f"CREATE TEMPORARY TABLE `{table.name}` ({table.structure})".encode(), b"")
    connection.query(create.text)
    if table.data:
        inserter = connection.send_insert(f"INSERT INTO `{table.name}`", table.format)
        inserter.append(table.data)
        inserter.finish()


def _stream(connection: Connection, sql: str, format_: str, parameters: Mapping[str, str]) -> Iterator[bytes]:
    """Chunks of a result, the first already computed, so that most errors come before any byte is sent."""
    stream = connection.send_query(sql, format_, params=dict(parameters))
    return _chunks(connection, stream, stream.fetch())


def _chunks(connection: Connection, stream: Any, first: Any) -> Iterator[bytes]:
    try:
        while first is not None:
            yield first.bytes()
            first = stream.fetch()
    except ENGINE_ERRORS as error:
        raise from_engine(error) from None
    finally:
        connection.close()
