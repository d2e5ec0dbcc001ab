"""Brings the store to the form of `schemas/migrations`: files in the order of their numbers, each once.

Invariant: a file that was applied never changes; its SHA-256 is recorded with it and compared at every run.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import Final

import pyarrow as pa

from schemas.errors import Problem
from store.client import Store

DATABASES: Final = ("kintsugi", "kintsugi_store")
"""Public views; tables."""

_FILE: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_STATEMENT: Final = re.compile(
    r"""(?: --[^\n]* | /\*.*?\*/ | '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `(?:[^`\\]|\\.)*` | [^;] )+""",
    re.VERBOSE | re.DOTALL,
)
_LEADING: Final = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/)*", re.DOTALL)
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NAMED_OBJECT: Final = re.compile(
    r"(?P<head>CREATE\s+(?:OR\s+REPLACE\s+)?(?:DATABASE|TABLE|VIEW)\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r"|ALTER\s+TABLE\s+|(?:DROP|TRUNCATE)\s+(?:DATABASE|TABLE|VIEW)\s+(?:IF\s+EXISTS\s+)?)(?P<name>[\w.]+)"
)
_ENGINE: Final = re.compile(r"\bENGINE\s*=\s*(?P<kind>\w*MergeTree)\b(?:\((?P<arguments>[^)]*)\))?")
_REPLICA: Final = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
_DIMENSIONS: Final = "allow_dimensions_outside_sorting_key"
_KNOWS_DIMENSIONS: Final = f"SELECT 1 AS knows FROM system.merge_tree_settings WHERE name = '{_DIMENSIONS}'"
_SCHEMA: Final = pa.schema(
    [
        pa.field("number", pa.uint32(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
    ]
)
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS kintsugi_store.migrations (
    number     UInt32 COMMENT 'Number of the file',
    name       String COMMENT 'Name of the file',
    sha256     String COMMENT 'SHA-256 of the file as it was applied',
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') COMMENT 'When it was applied'
) ENGINE = ReplacingMergeTree ORDER BY number
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Migrations that were applied to this store'
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Of the text as UTF-8."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """The files of `schemas/migrations`, by number. Raises Problem when two share a number."""
    found = []
    for file in files("schemas").joinpath("migrations").iterdir():
        named = _FILE.fullmatch(file.name)
        if named is not None:
            found.append(Migration(int(named[1]), file.name, file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    for one, other in pairwise(found):
        if one.number == other.number:
            raise Problem(
                "bad_request", f"two migrations have the number {one.number}: {one.name}, {other.name}"
            )
    return found


def statements(text: str) -> list[str]:
    """Statements of a file; a semicolon in a string, a quoted name or a comment separates nothing.

    >>> statements("SELECT ';'; -- a; b\\nSELECT 2;\\n-- end")
    ["SELECT ';'", '-- a; b\\nSELECT 2']
    """
    parts = (part.strip() for part in _STATEMENT.findall(text))
    return [part for part in parts if _COMMENT.sub("", part).strip()]


def on_cluster(statement: str, cluster: str) -> str:
    """The statement for every replica of a cluster: an ON CLUSTER clause, and the replicated form of the engine.

    All replicas hold everything (one shard): every step of the job must read what any other wrote. An INSERT stays
    as it is. Raises Problem for a kind of statement that is not known here. O(length).

    >>> on_cluster("CREATE TABLE d.t (v UInt8) ENGINE = ReplacingMergeTree(v) ORDER BY v", "c")
    "CREATE TABLE d.t ON CLUSTER 'c' (v UInt8) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/\
{shard}/{database}/{table}', '{replica}', v) ORDER BY v"
    """
    start = _LEADING.match(statement)
    if statement[start.end() if start else 0 :].startswith("INSERT "):
        return statement  # one replica takes the rows, and gives them to the others
    named = _NAMED_OBJECT.match(statement, start.end() if start else 0)
    if named is None:
        raise Problem("bad_request", f"This statement has no form for a cluster: {statement[:80]}")
    head, rest = statement[: named.end()], statement[named.end() :]

    def replicated(engine: re.Match[str]) -> str:
        own = f", {engine['arguments']}" if engine["arguments"] else ""
        return f"ENGINE = Replicated{engine['kind']}({_REPLICA}{own})"

    return f"{head} ON CLUSTER '{cluster}'{_ENGINE.sub(replicated, rest, count=1)}"


def ddl(cluster: str = "") -> list[str]:
    """Every statement that a new store gets, in order, for one server or for a cluster."""
    texts = ["CREATE DATABASE IF NOT EXISTS kintsugi_store", _TABLE, *(each.text for each in migrations())]
    found = [statement for text in texts for statement in statements(text)]
    return [on_cluster(statement, cluster) for statement in found] if cluster else found


def migrate(store: Store, wanted: list[Migration] | None = None, *, cluster: str = "") -> list[str]:
    """Applies what is not applied yet and returns the names of those files; applying again does nothing.

    With a `cluster`, the statements run on each of its replicas.

    Every statement may run twice (IF NOT EXISTS, OR REPLACE), since a crash may fall between a statement and
    the record of its file. Raises Problem when an applied file has changed.
    """
    wanted = migrations() if wanted is None else wanted

    def execute(statement: str) -> None:
        store.execute(on_cluster(statement, cluster) if cluster else statement)

    execute("CREATE DATABASE IF NOT EXISTS kintsugi_store")
    execute(_TABLE.strip())
    rows = store.query_rows("SELECT number, sha256 FROM kintsugi_store.migrations FINAL")
    applied: dict[int, str] = dict(rows)
    for migration in wanted:
        known = applied.get(migration.number, migration.sha256)
        if known != migration.sha256:
            raise Problem(
                "bad_request",
                f"{migration.name} was applied in another form (SHA-256 {known[:12]}..., now "
                f"{migration.sha256[:12]}...); an applied migration never changes: add a new file",
            )
    fresh = [migration for migration in wanted if migration.number not in applied]
    is_asked_for = bool(fresh and store.query_rows(_KNOWS_DIMENSIONS))
    for migration in fresh:
        for statement in statements(migration.text):
            execute(_with_dimensions(statement) if is_asked_for else statement)
        row = {"number": migration.number, "name": migration.name, "sha256": migration.sha256}
        store.insert_arrow("kintsugi_store.migrations", pa.Table.from_pylist([row], schema=_SCHEMA))
    return [migration.name for migration in fresh]


def _with_dimensions(statement: str) -> str:
    """Tells ClickHouse 26.9 and later what we mean by plain columns of an AggregatingMergeTree; older
    servers do not know the setting. All copies of a fact agree in those columns, so it does not matter which
    copy a merge keeps.
    """
    if not re.search(r"ENGINE\s*=\s*AggregatingMergeTree", statement):
        return statement
    return re.sub(r"\bSETTINGS ", f"SETTINGS {_DIMENSIONS} = 1, ", statement, count=1)


def reset(store: Store, *, cluster: str = "") -> None:
    """Drops everything that was ever stored. What the log holds can be derived again; nothing else comes
    back.
    """
    for database in DATABASES:
        statement = f"DROP DATABASE IF EXISTS {database} SYNC"
        store.execute(on_cluster(statement, cluster) if cluster else statement)
