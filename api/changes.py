"""Following leads: the journal of stages, segments and tags, read from a cursor on.

Invariant: whoever reads from the last cursor on misses nothing and may see a change again, under the same `change_id`.
What comes into force with other rules is told once all of it stands in the journal.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, Field

from api.guard import needs
from api.keys import Access, AccessKeys
from api.problems import may
from schemas.errors import Problem
from store.client import Store

ChangeKind = Literal["stage", "enter", "exit", "tag", "untag"]
MOST_CHANGES = 1_000
_CURSOR = re.compile(r"[0-9a-f]{48}")
_READ = """
SELECT concat(lpad(lower(hex(version)), 16, '0'), change_id) AS cursor, change_id, changed_at, profile_id, change, name,
    from_stage, cause, as_of, ruleset
FROM kintsugi_store.told_changes
WHERE workspace = {w:String} AND version >= {v:UInt64} AND (version, change_id) > ({v:UInt64}, {i:String})
    AND (cause != 'rule' OR version < (SELECT max(version) FROM kintsugi_store.in_force WHERE workspace = {w:String}))
    AND (empty({k:Array(String)}) OR has({k:Array(String)}, change))
ORDER BY version, change_id LIMIT {n:UInt32}"""


class Change(BaseModel):
    """One change of a golden record, as it was published."""

    cursor: str = Field(description="Place in the journal: give it as `after` to read on from here")
    change_id: str = Field(description="The same however often this change is told")
    changed_at: datetime = Field(description="When it was published")
    profile_id: str = Field(description="Profile that changed; the id still resolves after a merge")
    change: ChangeKind = Field(description="stage; enter, exit: of a segment; tag: given, untag: lost")
    name: str = Field(description="Stage now, segment, or tag")
    from_stage: str = Field(description="Of a stage: the one before; empty for a new profile")
    cause: str = Field(
        description="event, assertion (people or the CRM), merge, split, rule (other rules) or time"
    )
    as_of: date = Field(description="Date in force when it was published")
    ruleset: str = Field(description="Generation in which it happened")


class ChangesAnswer(BaseModel):
    """Changes in the order in which they were published."""

    changes: list[Change] = Field(description="Oldest first")
    next_cursor: str = Field(description="Give it as `after` for what comes behind these")


def read(store: Store, workspace: str, after: str, limit: int, kinds: Sequence[str] = ()) -> list[Change]:
    """Changes behind a cursor, at most `limit`, oldest first; an empty cursor is before the first.

    Raises Problem `bad_request` for what is no cursor.
    """
    if after and not _CURSOR.fullmatch(after):
        raise Problem(
            "bad_request", "after is a cursor of an earlier answer, 48 characters, or empty.", "after"
        )
    asked = {"w": workspace, "v": int(after[:16] or "0", 16), "i": after[16:], "k": list(kinds), "n": limit}
    return [Change(**row) for row in store.query_arrow(_READ, asked).to_pylist()]


def install(app: FastAPI, store: Store, keys: AccessKeys) -> None:
    """Add the endpoint of followers; it needs the scope `read`."""
    reads = Annotated[Access, Depends(needs(keys, "read"))]

    @app.get("/v1/changes", summary="Follow stages, segments and tags", responses=may())
    def changes(
        access: reads,
        after: Annotated[str, Query(max_length=48, description="Cursor; empty: from the beginning")] = "",
        change: Annotated[list[ChangeKind] | None, Query(description="Only changes of these kinds")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_CHANGES, description="Changes at most")] = MOST_CHANGES,
    ) -> ChangesAnswer:
        """What changed and why, at least once: keep `next_cursor` when you are done with an answer, ask again with it.

        An empty list: nothing new. A change says who changed, not what is known of them: read the profile.
        """
        found = read(store, access.workspace, after, limit, change or ())
        return ChangesAnswer(changes=found, next_cursor=found[-1].cursor if found else after)
