"""Columns that conditions may name: what they are, what missing values read as, who may refer to what.

Two places hold conditions. A `where` is judged once per event, over `EVENT_COLUMNS`; a `when` once per
profile, over `PROFILE_COLUMNS`. Invariant: a `when` refers only to what is worked out before it (traits, then
scores, then stage, then tags, then segments), so there are no cycles. Every column reads as its type,
whatever was sent:

| written                      | type   | missing, null | what else was sent                              |
|------------------------------|--------|---------------|-------------------------------------------------|
| `event`, `type`, `source`    | text   | never         |                                                 |
| `properties['x']['y']`       | text   | `''`          | number: its digits; boolean: `true` or `false`; |
|                              |        |               | object, list: its JSON                          |
| `context['x']`               | text   | `''`          | as properties                                   |
| `traits['x']`                | text   | `''`          | as properties; a sensitive trait: `''`          |
| `number(text)`               | number | null          | text that is not a number: null                 |
| `identifiers`, `trait_names` | texts  | empty list    |                                                 |
| `email_domains`              | texts  | empty list    |                                                 |

A comparison with null is null, `NOT` null is null, and a condition holds only if it is true: both
`number(properties['n']) >= 10` and `NOT (number(properties['n']) >= 10)` fail without n, and
`number(properties['n']) IS NULL` asks for it. Text that reads `inf` or `nan` is a number, as in ClickHouse;
no comparison with nan holds but `!=`.
"""

from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["text", "number", "texts", "json", "map", "score"]
"""json: object of any depth, as text; map: text by name; score: thousandths, compared with constants only."""

Level = Literal["traits", "scores", "stage", "tags", "segments"]
LEVELS: tuple[Level, ...] = ("traits", "scores", "stage", "tags", "segments")
"""Order in which things are worked out; a condition refers to levels before the one it decides."""


@dataclass(frozen=True, slots=True)
class ConditionColumn:
    """A column that a condition may name."""

    name: str
    type: ColumnType
    meaning: str
    level: Level = "traits"
    sql_type: str = ""
    """Type of the column in the rows sent for a `when`."""


EVENT_COLUMNS = (
    ConditionColumn("event", "text", "Name of the event; Page Viewed for a page call"),
    ConditionColumn("type", "text", "track, identify, page, screen, group or alias"),
    ConditionColumn("source", "text", "Source that sent the event"),
    ConditionColumn("properties", "json", "Properties of the event, without sensitive ones"),
    ConditionColumn("context", "json", "Context of the event: page, campaign, userAgent, library, locale"),
)
"""What a `where` may name. Robots' events match no rule and are not seen by conditions."""

PROFILE_COLUMNS = (
    ConditionColumn("traits", "map", "Current traits, not sensitive ones", "traits", "Map(String, String)"),
    ConditionColumn(
        "trait_names", "texts", "Names of the traits held, sensitive ones too", "traits", "Array(String)"
    ),
    ConditionColumn("identifiers", "texts", "Namespaces held: phone, email, ...", "traits", "Array(String)"),
    ConditionColumn(
        "email_domains", "texts", "What stands behind the @ of the emails held", "traits", "Array(String)"
    ),
    ConditionColumn("event_count", "number", "Events that count for the profile", "traits", "UInt64"),
    ConditionColumn("first_channel", "text", "Channel of the first event that has one", "traits", "String"),
    ConditionColumn("last_channel", "text", "Channel of the last event that has one", "traits", "String"),
    ConditionColumn("owner", "text", "Employee of the last event that names one", "traits", "String"),
    ConditionColumn("behaviour_score", "score", "Behaviour score; sent in thousandths", "scores", "Int64"),
    ConditionColumn("identity_score", "score", "Identity score; sent in thousandths", "scores", "Int64"),
    ConditionColumn("identity_grade", "text", "Letter of the identity score", "scores", "String"),
    ConditionColumn("stage", "text", "Stage", "stage", "String"),
    ConditionColumn(
        "tags", "texts", "Tags of rules, and those that people set behind manual/", "tags", "Array(String)"
    ),
    ConditionColumn("segments", "texts", "Segments", "segments", "Array(String)"),
)
"""What a `when` may name, as far as its level allows."""


def columns_before(thing: Level) -> tuple[ConditionColumn, ...]:
    """Columns that a condition deciding `thing` may name: everything worked out before it.

    >>> [c.name for c in columns_before("stage") if c.level == "scores"]
    ['behaviour_score', 'identity_score', 'identity_grade']
    """
    earlier = LEVELS[: LEVELS.index(thing)]
    return tuple(column for column in PROFILE_COLUMNS if column.level in earlier)


def rows_structure(columns: tuple[ConditionColumn, ...] = PROFILE_COLUMNS) -> str:
    """Structure of the rows sent for conditions: `profile_id String, traits Map(String, String), ...`."""
    return ", ".join(["profile_id String", *(f"{c.name} {c.sql_type}" for c in columns)])
