"""Waiting until everything accepted so far is in the profiles.

Invariant: what a mark names is done when `progress` holds its segment for each of its workspaces; nothing is
concluded from clocks or counts.
"""

import time
from collections.abc import Callable, Sequence

from pipelines.log import Mark
from store.client import Store


def missing(marks: Sequence[Mark], store: Store) -> list[Mark]:
    """The marks that are not yet recorded, each with the workspaces that it still waits for."""
    wanted = [mark for mark in marks if mark.workspaces]
    if not wanted:
        return []
    rows = store.query_rows(
        "SELECT DISTINCT segment, workspace FROM kintsugi_store.progress WHERE segment >= {first:String}",
        {"first": min(mark.segment for mark in wanted)},
    )
    recorded = {(str(segment), str(workspace)) for segment, workspace in rows}
    left = []
    for mark in wanted:
        lagging = tuple(w for w in mark.workspaces if (mark.segment, w) not in recorded)
        if lagging:
            left.append(Mark(mark.segment, lagging))
    return left


def wait_for(
    marks: Sequence[Mark],
    store: Store,
    timeout: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Mark]:
    """Poll until all marks are recorded or `timeout` seconds have passed; what is missing then.

    `progress` is told (recorded, all) after each look.
    """
    deadline = time.monotonic() + timeout
    left = missing(marks, store)
    while True:
        progress(len(marks) - len(left), len(marks))
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))
        left = missing(left, store)
