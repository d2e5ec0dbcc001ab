"""Arrow schemas of the tables that the job writes: one constant a table, columns in the order of the DDL.

Invariant: a batch that has the schema of a table inserts into it as it is; `TABLES` names them all and a test
compares them with the migrations.
"""

from collections.abc import Iterable, Sequence

import pyarrow as pa

ID = pa.utf8()
TIME = pa.timestamp("us", "UTC")
DAY = pa.date32()
IDS = pa.list_(pa.utf8())
HELD = pa.struct([(name, pa.utf8()) for name in ("identifier_id", "namespace", "scope", "mask", "sealed")])
"""An identifier of a profile, as the query API shows it."""


def _schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=name == "next_change_on") for name, kind in columns])


EVENTS = _schema(
    ("workspace", pa.utf8()), ("event_id", ID), ("type", pa.utf8()), ("event", pa.utf8()),
    ("message_id", pa.utf8()), ("source", pa.utf8()), ("occurred_at", TIME), ("received_at", TIME), ("day", DAY),
    ("is_robot", pa.uint8()), ("properties", pa.utf8()), ("context", pa.utf8()), ("sealed", pa.utf8()),
    ("identifiers", IDS), ("kinds", IDS),
)  # fmt: skip
"""One row per event."""

IDENTIFIERS = _schema(
    ("workspace", pa.utf8()), ("identifier_id", ID), ("namespace", pa.utf8()), ("scope", pa.utf8()),
    ("kind", pa.utf8()), ("mask", pa.utf8()), ("sealed", pa.utf8()), ("received_at", TIME),
)  # fmt: skip
"""One row per identifier when it is first met, or met with an earlier received_at."""

SIGHTINGS = _schema(
    ("workspace", pa.utf8()), ("identifier_id", ID), ("kind", pa.utf8()), ("day", DAY), ("received_at", TIME),
    ("example_event", ID),
)  # fmt: skip
"""One row per identifier and day, novel to the attempt that wrote it."""

LINKS = _schema(
    ("workspace", pa.utf8()), ("a", ID), ("b", ID), ("day", DAY), ("received_at", TIME), ("example_event", ID),
)  # fmt: skip
"""One row per pair and day, novel to the attempt that wrote it."""

TRAITS = _schema(
    ("workspace", pa.utf8()), ("identifier_id", ID), ("name", pa.utf8()), ("event_id", ID), ("value", pa.utf8()),
    ("is_sealed", pa.uint8()), ("is_unset", pa.uint8()), ("occurred_at", TIME), ("received_at", TIME), ("day", DAY),
    ("identifiers", IDS), ("kinds", IDS),
)  # fmt: skip
"""One row per observation of a trait and identifier of the event."""

REJECTS = _schema(
    ("workspace", pa.utf8()), ("reject_id", ID), ("source", pa.utf8()), ("code", pa.utf8()),
    ("pointer", pa.utf8()), ("detail", pa.utf8()), ("sealed", pa.utf8()), ("received_at", TIME),
    ("event_id", pa.utf8()),
)  # fmt: skip
"""What could not become an event; with the event that it became later."""

CONTROL_RECORDS = _schema(
    ("workspace", pa.utf8()), ("kind", pa.utf8()), ("at", TIME), ("id", pa.utf8()), ("body", pa.utf8()),
)  # fmt: skip
"""Control records as they were said."""

ASSERTIONS = _schema(
    ("workspace", pa.utf8()), ("identifier_id", ID), ("day", DAY), ("at", TIME), ("id", pa.utf8()),
    ("what", pa.utf8()), ("value", pa.utf8()), ("author", pa.utf8()),
)  # fmt: skip
"""What people said of identifiers."""

GENERATIONS = _schema(
    ("workspace", pa.utf8()), ("generation", pa.utf8()), ("opened_at", TIME), ("ruleset", pa.utf8()),
    ("weights", pa.map_(pa.utf8(), pa.list_(pa.uint32()))), ("bounds", pa.map_(pa.utf8(), pa.int64())),
)  # fmt: skip
"""Rulesets under which profiles are derived."""

IN_FORCE = _schema(
    ("workspace", pa.utf8()), ("generation", pa.utf8()), ("as_of", DAY), ("version", pa.uint64()),
)  # fmt: skip
"""The pointer."""

IDENTITY_MAP = _schema(
    ("workspace", pa.utf8()), ("generation", pa.utf8()), ("identifier_id", ID), ("profile_id", ID),
    ("state", pa.utf8()), ("version", pa.uint64()),
)  # fmt: skip
"""From identifier to profile."""

CLUSTERS = _schema(
    ("workspace", pa.utf8()), ("generation", pa.utf8()), ("profile_id", ID), ("members", IDS),
    ("version", pa.uint64()),
)  # fmt: skip
"""From profile to identifiers."""

EXCLUDED_IDENTIFIERS = _schema(
    ("workspace", pa.utf8()), ("generation", pa.utf8()), ("identifier_id", ID), ("reason", pa.utf8()),
    ("version", pa.uint64()),
)  # fmt: skip
"""Identifiers that do not cluster."""

REFUSED_LINKS = _schema(
    ("workspace", pa.utf8()), ("generation", pa.utf8()), ("a", ID), ("b", ID), ("reason", pa.utf8()),
    ("blocker", pa.utf8()), ("version", pa.uint64()),
)  # fmt: skip
"""Links that the rules refuse."""

IDENTITY_CHANGES = _schema(
    ("workspace", pa.utf8()), ("generation", pa.utf8()), ("changed_at", TIME), ("identifier_id", ID),
    ("from_profile", ID), ("to_profile", ID), ("cause", pa.utf8()), ("version", pa.uint64()),
    ("evidence", IDS),
)  # fmt: skip
"""Journal of merges and splits."""

PROFILE_ROWS = _schema(
    ("workspace", pa.utf8()), ("generation", pa.utf8()), ("profile_id", ID), ("is_tombstone", pa.uint8()),
    ("members", IDS), ("identifiers", pa.map_(pa.utf8(), IDS)), ("traits", pa.map_(pa.utf8(), pa.utf8())),
    ("sealed_traits", pa.map_(pa.utf8(), pa.utf8())),
    ("trait_events", pa.map_(pa.utf8(), pa.utf8())), ("points", pa.map_(pa.utf8(), pa.int64())),
    ("decaying", pa.list_(pa.struct([("rule", pa.utf8()), ("day", DAY), ("amount", pa.int64())]))),
    ("identity_points", pa.map_(pa.utf8(), pa.int64())), ("identity_grade", pa.utf8()), ("robot", pa.utf8()),
    ("stage", pa.utf8()),
    ("stage_history", pa.list_(pa.struct(
        [("stage", pa.utf8()), ("day", DAY), ("cause", pa.utf8()), ("behaviour_score", pa.int64())]))),
    ("tags", IDS), ("segments", IDS),
    ("first_channel", pa.utf8()), ("last_channel", pa.utf8()), ("owner", pa.utf8()), ("first_seen_at", TIME),
    ("last_seen_at", TIME), ("event_count", pa.uint64()), ("as_of", DAY), ("next_change_on", DAY),
    ("version", pa.uint64()), ("held", pa.list_(HELD)),
)  # fmt: skip
"""Golden records."""

PROFILE_CHANGES = _schema(
    ("workspace", pa.utf8()), ("generation", pa.utf8()), ("changed_at", TIME), ("profile_id", ID),
    ("what", pa.utf8()), ("was", pa.utf8()), ("becomes", pa.utf8()), ("cause", pa.utf8()), ("as_of", DAY),
    ("version", pa.uint64()), ("follows", pa.uint64()),
)  # fmt: skip
"""Journal of stages, segments and tags."""

PROGRESS = _schema(("workspace", pa.utf8()), ("segment", pa.utf8()), ("recorded_at", TIME))
"""Segments whose work is done."""

TABLES = {
    "events": EVENTS, "identifiers": IDENTIFIERS, "sightings": SIGHTINGS, "links": LINKS, "traits": TRAITS,
    "rejects": REJECTS, "control_records": CONTROL_RECORDS, "assertions": ASSERTIONS,
    "generations": GENERATIONS, "in_force": IN_FORCE,
    "identity_map": IDENTITY_MAP, "clusters": CLUSTERS, "excluded_identifiers": EXCLUDED_IDENTIFIERS,
    "refused_links": REFUSED_LINKS, "identity_changes": IDENTITY_CHANGES, "profile_rows": PROFILE_ROWS,
    "profile_changes": PROFILE_CHANGES,
    "progress": PROGRESS,
}  # fmt: skip


def batch(name: str, columns: Sequence[Sequence[object]]) -> pa.RecordBatch:
    """Rows of table `name` from its columns, in the order of the schema.

    Days are days since 1970-01-01 and times are µs since then, UTC, both as ints.
    """
    schema = TABLES[name]
    arrays = [pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def table(name: str, rows: Iterable[tuple[object, ...]]) -> pa.Table:
    """Table `name` from rows whose values stand in the order of the schema; at least one row."""
    return pa.Table.from_batches([batch(name, list(zip(*rows, strict=True)))])
