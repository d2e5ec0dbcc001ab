"""Outcomes and statuses of leads from a CSV file into the log.

Invariant: every row is said whole or not at all, and one that cannot be said stands in the file of rejects with its row
number and the reason. A row always makes the same records, so a file may be taken in again at any time.
"""

import csv
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from api.assertions import Sayings
from api.identifiers import Secrets, name
from api.stewardship import Word
from kintsugi import workspaces
from kintsugi.ingest import append_patiently
from kintsugi.progress import Progress
from kintsugi.settings import Settings
from pipelines.log import Log
from schemas.errors import Problem
from schemas.log_record import AnyRecord, Assertion, What
from schemas.times import parse_time
from schemas.workspace import Workspace
from store.client import Store

NEEDED = ("namespace", "value", "at")
SAYS: tuple[What, ...] = ("status", "outcome")
"""Columns of what is said; a row fills one of them, or both."""
_TOGETHER = 500


@dataclass
class Taken:
    """What became of the rows."""

    said: int = 0
    rejected: int = 0
    first_reject: str = ""


def into_log(
    settings: Settings, store: Store, log: Log, workspace: str, source: Path, rejects: Path
) -> Taken:
    """Say what the rows of a file say; all of it is durable when this returns.

    Raises Problem for a file that cannot be read as a table with the columns NEEDED and one of SAYS.
    """
    keys = workspaces.require(settings, workspace)
    secrets = Secrets(Workspace.from_json(workspace, keys.workspace), keys)
    reader = _Reader(secrets, Sayings(store, secrets), Word("outcomes", source.name))
    taken, waiting = Taken(), list[AnyRecord]()
    with ExitStack() as held, Progress("outcomes", unit="rows") as bar:
        refuse = held.enter_context(_Rejects(rejects)).write
        for row, fields, header in _rows(source):
            try:
                waiting += reader.records(fields)
                taken.said += 1
            except Problem as problem:
                reason = f"{problem.pointer}: {problem.detail}" if problem.pointer else problem.detail
                refuse(header, {**fields, "row": row, "error": reason})
                taken.rejected += 1
                taken.first_reject = taken.first_reject or f"row {row}: {reason}"
            if len(waiting) >= _TOGETHER:
                append_patiently(log, waiting).result()
                waiting = []
                bar.at(taken.said + taken.rejected)
        append_patiently(log, waiting).result()
        bar.at(taken.said + taken.rejected)
    return taken


class _Reader:
    """From the fields of a row to records."""

    def __init__(self, secrets: Secrets, sayings: Sayings, word: Word) -> None:
        self._secrets = secrets
        self._sayings = sayings
        self._word = word

    def records(self, fields: Mapping[str, str]) -> list[Assertion]:
        """What the row says. Raises Problem with the column as pointer."""
        if None in fields:
            raise Problem("bad_request", "The row has more fields than the header.")
        text = {column: (value or "").strip() for column, value in fields.items()}
        identifier = self._identifier(text)
        at = moment(text["at"], self._sayings.time_zone)
        word = Word(text.get("author") or self._word.author, text.get("reason") or self._word.reason)
        found = []
        for what in SAYS:
            if value := text.get(what, ""):
                try:
                    found.append(self._sayings.record(identifier, what, value, word, at))
                except Problem as problem:
                    column = "at" if problem.pointer == "/said_at" else what
                    raise Problem(problem.code, problem.detail, column) from None
        if not found:
            raise Problem("bad_request", f"The row says nothing: fill {' or '.join(SAYS)}.")
        return found

    def _identifier(self, text: Mapping[str, str]) -> str:
        named = name(self._secrets, text["namespace"], text.get("scope", ""), text["value"])
        if named.reason == "no_normal_form":
            raise Problem("bad_request", f"This can be no {text['namespace']}.", "value")
        if named.reason:
            raise Problem(
                named.reason, pointer="namespace" if named.reason == "unknown_namespace" else "scope"
            )
        return named.identifier_id


def moment(text: str, zone: ZoneInfo) -> int:
    """µs since 1970 of a time, or of the beginning of a day, where no zone is given in `zone`.

    Raises Problem `bad_timestamp` with the column `at`.

    >>> moment("2026-03-06", ZoneInfo("Asia/Shanghai")) == moment("2026-03-05T16:00:00Z", ZoneInfo("UTC"))
    True
    """
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise Problem(
            "bad_timestamp", f"{text!r} is no time as 2026-03-06 or 2026-03-06T10:00+08:00.", "at"
        ) from None
    at = parse_time((told if told.tzinfo else told.replace(tzinfo=zone)).isoformat())
    assert at is not None
    return at


class _Rejects:
    """The file of rejects: there when there are any, with the columns of the source, the row and the reason."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = ExitStack()
        self._writer: Any = None

    def __enter__(self) -> "_Rejects":
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def write(self, header: list[str], fields: Mapping[str, Any]) -> None:
        """Add a row; it is the owner's alone to read, since it holds identifiers in the clear."""
        if self._writer is None:
            self._path.touch(mode=0o600)
            file = self._held.enter_context(self._path.open("w", encoding="utf-8", newline=""))
            columns = [column for column in header if column not in ("row", "error")]
            self._writer = csv.DictWriter(file, [*columns, "row", "error"], extrasaction="ignore")
            self._writer.writeheader()
        beyond = ",".join(fields.get(None, ()))  # type: ignore[call-overload]  # csv's key for what no column holds
        self._writer.writerow(
            {**fields, "error": fields["error"] + (f" (beyond: {beyond})" if beyond else "")}
        )


def _rows(source: Path) -> Iterator[tuple[int, dict[str, Any], list[str]]]:
    """Row number (the header is 1), fields by column, header."""
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [column.strip().lower() for column in reader.fieldnames or ()]
            reader.fieldnames = header
            absent = [column for column in NEEDED if column not in header]
            if absent or not set(SAYS) & set(header):
                wanted = ", ".join(absent) or " or ".join(SAYS)
                raise Problem(
                    "bad_request", f"{source} has no column {wanted}; the first line names the columns."
                )
            for number, fields in enumerate(reader, 2):
                yield number, fields, header
    except UnicodeDecodeError:
        raise Problem("bad_encoding", f"{source} is not UTF-8; save it as CSV UTF-8.") from None
    except csv.Error as error:
        raise Problem("bad_request", f"{source} cannot be read as CSV: {error}") from None
