"""The one way to the store: Arrow in and out over ClickHouse's HTTP interface, to a server or our endpoint.

Invariant: every call is safe to repeat (all tables are idempotent), so calls are repeated while the store
cannot be reached; what remains unreachable is StoreUnavailable, what the store refuses is StoreRefused.
"""

import ipaddress
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import clickhouse_connect
import msgspec
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, InterfaceError, OperationalError
from clickhouse_connect.driver.external import ExternalData
from clickhouse_connect.driver.httputil import check_env_proxy, get_pool_manager

from schemas.errors import Problem
from store.arrow_types import structure

_T = TypeVar("_T")

FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 2.0
AT_ONCE: Final = 8
"""Calls that one store has under way by `begin`."""
_PASSING: Final = frozenset([202, 203, 209, 210, 236, 241, 242, 252, 279, 285, 286, 319, 999])
"""ClickHouse's codes for what time mends: overload, memory, too many parts, lost peers."""

_INSERT_SETTINGS: Final = {"async_insert": "0", "optimize_on_insert": "0"}
"""In place when acknowledged; rows of one key fall together where parts are merged and read, not once more before."""


class StoreUnavailable(Problem):
    """The store could not be reached in the time allowed; nothing is known about the call's effect."""

    def __init__(self, detail: str) -> None:
        super().__init__("store_unavailable", detail)


class StoreRefused(Exception):  # noqa: N818  # named for the fact
    """The store understood the statement and refused it; `code` is ClickHouse's number, or 0."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a store. `msgspec.convert(dict, StoreSettings)` and `StoreSettings.from_json` read one."""

    url: str
    user: str = "default"
    token: str = ""
    """Password of the user: the endpoint's token, or the password of a ClickHouse user."""
    timeout: float = 300.0
    """Seconds that one statement may take."""
    patience: float = 20.0
    """Seconds over which a call is repeated while the store cannot be reached."""
    threads: int = 0
    """Threads that the store gives to one statement; 0: as many as it has. Small statements are cheaper with one."""

    @staticmethod
    def from_json(text: bytes | str) -> "StoreSettings":
        """Settings out of JSON. Raises msgspec.ValidationError."""
        return msgspec.json.decode(text, type=StoreSettings)

    def to_json(self) -> bytes:
        """The same settings as JSON."""
        return msgspec.json.encode(self)


@dataclass(frozen=True, slots=True)
class _Address:
    host: str
    port: int
    is_secure: bool

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class Store:
    """A connected store; connects at the first call. Any number of threads may share one.

    All calls raise StoreUnavailable and StoreRefused. Tables are named with their database.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self._address = _address(settings.url)
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="store")

    def insert_arrow(self, table: str, batch: pa.Table | pa.RecordBatch) -> int:
        """Adds rows, in place when this returns; columns go by name. Returns the number of rows sent."""
        if batch.num_rows == 0:
            return 0
        block = to_stream(batch)
        names = batch.schema.names

        def insert(client: Client) -> None:
            client.raw_insert(table, names, block, fmt="ArrowStream", settings=_INSERT_SETTINGS)

        self._call(insert)
        return int(batch.num_rows)

    def query_arrow(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        external: Mapping[str, pa.Table] | None = None,
    ) -> pa.Table:
        """Result of a SELECT. `parameters` fill `{name:Type}`; `external` tables are there by name."""
        sent = _external(external)

        def query(client: Client) -> bytes:
            return bytes(client.raw_query(sql, dict(parameters or {}), fmt="ArrowStream", external_data=sent))

        with pa.ipc.open_stream(self._call(query)) as reader:
            return reader.read_all()

    def query_rows(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        external: Mapping[str, pa.Table] | None = None,
    ) -> list[tuple[Any, ...]]:
        """Result of a SELECT as tuples of Python values, for the few rows that people and decisions need."""
        table = self.query_arrow(sql, parameters, external)
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def execute(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        external: Mapping[str, pa.Table] | None = None,
    ) -> None:
        """Runs a statement without a result: DDL, INSERT ... SELECT (with external tables, if any)."""
        sent = _external(external)

        def command(client: Client) -> None:
            client.raw_query(sql, dict(parameters or {}), external_data=sent, settings=_INSERT_SETTINGS)

        self._call(command)

    def begin(self, call: Callable[[], _T]) -> Future[_T]:
        """Makes a call beside others (AT_ONCE together): most of a small statement is waiting."""
        return self._threads.submit(call)

    def insert_all(self, tables: Mapping[str, pa.Table], *others: Callable[[], None]) -> None:
        """Adds rows to several tables at once, beside other calls.

        Returns when all have ended; raises the first error in their order.
        """
        waiting: list[Future[Any]] = [
            *(self.begin(partial(self.insert_arrow, table, rows)) for table, rows in tables.items()),
            *(self.begin(call) for call in others),
        ]
        wait(waiting)
        for one in waiting:
            one.result()

    def ping(self) -> bool:
        """Whether the store answers right now; asked once, at most 3 s."""
        try:
            return bool(self._connected().ping(timeout=3))
        except (DatabaseError, InterfaceError, OperationalError):
            return False

    def close(self) -> None:
        """Gives up the connections and threads; a later call opens new connections."""
        self._threads.shutdown()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="store")
        with self._lock:
            if self._client is not None:
                self._client.close_connections()
                self._client = None

    def _call(self, work: Callable[[Client], _T]) -> _T:
        """Runs `work`, again and again within the settings' patience while the store cannot be reached."""
        deadline = time.monotonic() + self.settings.patience
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return work(self._connected())
            except DatabaseError as error:
                code = _code(error)
                if not isinstance(error, OperationalError) and code not in _PASSING:
                    raise StoreRefused(code, str(error)) from None
                rest = pause * random.uniform(0.5, 1.0)  # noqa: S311  # spreads clients, protects nothing
                if time.monotonic() + rest > deadline:
                    raise StoreUnavailable(f"{self.settings.url} does not answer: {error}") from None
            time.sleep(rest)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = _client(self.settings, self._address)
            return self._client


def connect(
    url: str,
    *,
    user: str = "default",
    token: str = "",
    timeout: float = 300.0,
    patience: float = 20.0,
    threads: int = 0,
) -> Store:
    """A store at `http://host:port` or `https://...`; `token` is the password of `user`."""
    return Store(
        StoreSettings(url=url, user=user, token=token, timeout=timeout, patience=patience, threads=threads)
    )


def to_stream(batch: pa.Table | pa.RecordBatch) -> bytes:
    """A table as an Arrow IPC stream of one batch (every batch costs the store a block). O(bytes)."""
    if isinstance(batch, pa.Table):
        batch = batch.combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write(batch)
    return bytes(sink.getvalue().to_pybytes())


def _external(tables: Mapping[str, pa.Table] | None) -> ExternalData | None:
    if not tables:
        return None
    sent = ExternalData()
    for name, table in tables.items():
        sent.add_file(file_name=name, data=to_stream(table), fmt="ArrowStream", structure=structure(table))
    return sent


def _client(settings: StoreSettings, address: _Address) -> Client:
    """A client without server-side session, so that threads may share it; loopback knows no proxy."""
    proxy = None if address.is_loopback else check_env_proxy("http", address.host, address.port)
    options: dict[str, Any] = (
        {} if address.is_secure else {"pool_mgr": get_pool_manager(maxsize=32, http_proxy=proxy)}
    )
    return clickhouse_connect.get_client(
        interface="https" if address.is_secure else "http",
        host=address.host,
        port=address.port,
        username=settings.user,
        password=settings.token,
        compress=not address.is_loopback,
        send_receive_timeout=int(settings.timeout),
        connect_timeout=5,
        query_retries=0,
        form_encode_query_params=True,  # in a URL, a thousand characters of SQL cost a millisecond
        autogenerate_session_id=False,
        settings={"max_threads": str(settings.threads)} if settings.threads else None,
        show_clickhouse_errors=True,
        **options,
    )


def _address(url: str) -> _Address:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise ValueError(f"the store's URL must be http://host:port or https://host:port, not {url!r}")
    is_secure = parts.scheme == "https"
    return _Address(parts.hostname, parts.port or (8443 if is_secure else 8123), is_secure)


def _code(error: Exception) -> int:
    code: Any = getattr(error, "code", None)
    return int(code) if isinstance(code, int | str) and str(code).isdigit() else 0
