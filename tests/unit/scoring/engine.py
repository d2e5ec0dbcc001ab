"""The engine of the embedded store in this process, with all tables, for tests of compiled SQL."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import chdb
import pyarrow as pa

from schemas.condition_columns import PROFILE_COLUMNS, rows_structure
from scoring.facts import TOUCHED
from store.migrate import migrations, statements

TABLES = ("0001", "0002", "0011")
"""Migrations that make the tables which compiled SQL reads."""
TABLE_SETTINGS = "allow_dimensions_outside_sorting_key = 1"
"""In place of those of the migrations: nothing here needs to survive a power cut."""
FILLED = ("events", "traits", "event_hits", "excluded_identifiers", "touched", "profiles")


@dataclass(frozen=True)
class Namespace:
    """What compiled SQL needs to know of a namespace's rules."""

    name: str


@dataclass(frozen=True)
class Identity:
    """What compiled SQL needs to know of identity rules."""

    namespaces: tuple[Namespace, ...] = (Namespace("user_id"), Namespace("phone"), Namespace("anonymous_id"))
    blocked_patterns: frozenset[str] = frozenset()
    blocked_ids: frozenset[str] = frozenset()


class Engine:
    """A connection to a store in memory; opened anew after an error, as it may hold partial results."""

    def __init__(self) -> None:
        self._connection = chdb.connect(":memory:")
        self._make_tables()

    def clear(self) -> None:
        """Empties the tables that tests fill."""
        for name in FILLED:
            self.run(f"TRUNCATE TABLE kintsugi_store.{name}")

    def _make_tables(self) -> None:
        self.run("DROP DATABASE IF EXISTS kintsugi_store")
        for migration in migrations():
            for statement in statements(migration.text) if migration.name.startswith(TABLES) else ():
                if "INSERT INTO" not in statement and "VIEW" not in statement:
                    self.run(re.sub(r"SETTINGS .*", f"SETTINGS {TABLE_SETTINGS}", statement))
        self.run(f"CREATE TABLE kintsugi_store.touched ({TOUCHED}) ENGINE = Memory")
        self.run(f"CREATE TABLE kintsugi_store.profiles ({rows_structure()}) ENGINE = Memory")

    def run(self, sql: str) -> None:
        """Runs a statement."""
        self._query(sql, "Null")

    def insert(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds rows, each as JSON."""
        lines = "\n".join(json.dumps(row) for row in rows)
        if lines:
            self.run(f"INSERT INTO kintsugi_store.{table} FORMAT JSONEachRow {lines}")

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Result of a SELECT, 64-bit integers as integers."""
        text = self._query(
            f"{sql} SETTINGS output_format_json_quote_64bit_integers = 0", "JSONEachRow"
        ).decode()
        return [json.loads(line) for line in text.splitlines()]

    def arrow(self, sql: str) -> pa.Table:
        """Result of a SELECT."""
        return pa.ipc.open_stream(self._query(sql, "ArrowStream")).read_all()

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def _query(self, sql: str, form: str) -> bytes:
        try:
            return bytes(self._connection.query(sql, form).bytes())
        except Exception:
            self._connection.close()
            self._connection = chdb.connect(":memory:")
            raise


def event_row(event_id: str, day: str, event: str, **fields: Any) -> dict[str, Any]:
    """A row of `events` of workspace w; `properties`, `context`: objects, `seen`: {identifier: kind}."""
    seen = fields.pop("seen", {"u1": "user_id"})
    row = {
        "workspace": "w", "event_id": event_id, "type": "track", "event": event, "message_id": event_id,
        "source": "web", "occurred_at": f"{day} 08:00:00", "received_at": f"{day} 09:00:00", "day": day,
        "is_robot": 0, "sealed": "", "identifiers": sorted(seen), "kinds": [seen[i] for i in sorted(seen)],
    }  # fmt: skip
    texts = {name: json.dumps(fields.pop(name, {}), ensure_ascii=False) for name in ("properties", "context")}
    return {**row, **texts, **fields}


def profile_row(**fields: Any) -> dict[str, Any]:
    """A row for `when` conditions; what is not given is empty."""
    empty = {"Map(String, String)": {}, "Array(String)": [], "String": ""}
    return {
        "profile_id": "p1",
        **{column.name: empty.get(column.sql_type, 0) for column in PROFILE_COLUMNS},
        **fields,
    }
