"""Sessions: a connection kept for a session_id, with its temporary tables, used by one request at a time."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from chdb import ChdbError
from chdb.state.sqlitelike import Connection

from store.endpoint.faults import from_engine, refusal

MOST_SESSIONS: Final = 1000


@dataclass(slots=True)
class _Session:
    connection: Connection
    lock: threading.Lock = field(default_factory=threading.Lock)
    expires_at: float = 0.0


class Sessions:
    """Sessions by id. After a failed statement the session starts anew (its temporary tables are gone).

    That is the price of never showing one statement's rows as another's: see the package's invariant.
    """

    def __init__(self, open_connection: Callable[[], Connection]) -> None:
        self._open = open_connection
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    @contextmanager
    def use(self, session_id: str, timeout: float) -> Iterator[Connection]:
        """The session's connection, for one request. Raises Fault 373 while another request uses it."""
        session = self._take(session_id)
        try:
            yield session.connection
        except BaseException as error:
            with self._lock:
                self._sessions.pop(session_id, None)
            session.connection.close()
            if isinstance(error, (ChdbError, RuntimeError)):
                raise from_engine(error) from None
            raise
        finally:
            session.expires_at = time.monotonic() + timeout
            session.lock.release()

    def _take(self, session_id: str) -> _Session:
        with self._lock:
            self._expire()
            session = self._sessions.get(session_id)
            if session is None:
                if len(self._sessions) >= MOST_SESSIONS:
                    raise refusal(202, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many sessions")
                session = self._sessions[session_id] = _Session(self._open())
            if not session.lock.acquire(blocking=False):
                raise refusal(
                    373, "SESSION_IS_LOCKED", f"Session {session_id} is locked by a concurrent client"
                )
            return session

    def _expire(self) -> None:
        now = time.monotonic()
        for session_id, session in list(self._sessions.items()):
            if session.expires_at < now and session.lock.acquire(blocking=False):
                del self._sessions[session_id]
                session.connection.close()

    def close(self) -> None:
        """Ends all sessions."""
        with self._lock:
            for session in self._sessions.values():
                session.connection.close()
            self._sessions.clear()


@contextmanager
def assign(connection: Connection, settings: Mapping[str, str], database: str) -> Iterator[None]:
    """Settings and database (if any) for one request of a session; afterwards those of before hold again."""
    names = ", ".join(quoted(name) for name in settings)
    before = _pairs(connection, f"SELECT name, value FROM system.settings WHERE name IN ({names})")
    connection.query("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in settings.items()))
    if database:
        used = _pairs(connection, "SELECT currentDatabase(), ''")
        connection.query(f"USE {_name(database)}")
    yield
    if database:
        connection.query(f"USE {_name(next(iter(used)))}")
    # a TSV field, put between quotes, is the SQL literal of the same value
    connection.query("SET " + ", ".join(f"{name} = '{value}'" for name, value in before.items()))


def _pairs(connection: Connection, sql: str) -> dict[str, str]:
    """A result of two columns; values stay as TSV escapes them."""
    rows = connection.query(sql, "TSV").bytes().decode().splitlines()
    return dict(row.split("\t", 1) for row in rows)


def _name(text: str) -> str:
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


def quoted(text: str) -> str:
    """A string literal of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
