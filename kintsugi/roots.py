"""Which root of the directory log the job reads, and when it may go on to the next.

The state of Flink's directory source grows with every file it has ever seen, so the log's root is rotated:
sealed, read to its end, archived; the job then starts on the next root under a new source uid. Invariant: the
job reads the oldest live root, and a root is archived only while no job runs, everything in it is recorded,
and a savepoint holds what the job made of it.
"""

from datetime import UTC, datetime
from pathlib import Path

from kintsugi.waiting import missing
from pipelines.log import Log
from pipelines.log.directory import DirectoryLog
from store.client import Store


class Roots:
    """The log's source for the job; for a Kafka log there is one source for ever."""

    def __init__(self, log: Log) -> None:
        self._log = log

    @property
    def folder(self) -> Path | None:
        """The root that the job reads; None for a topic."""
        return self._log.roots()[0] if isinstance(self._log, DirectoryLog) else None

    @property
    def source_uid(self) -> str:
        """uid of the source that reads it."""
        folder = self.folder
        return f"source-{folder.name}" if folder else "source-topic"

    @property
    def is_old(self) -> bool:
        """Whether the only live root holds segments of an earlier day (UTC)."""
        if not isinstance(self._log, DirectoryLog) or len(self._log.roots()) > 1:
            return False
        days = sorted(folder.name for folder in self._log.live_root().iterdir())
        return bool(days) and days[0] < f"{datetime.now(UTC):%Y-%m-%d}"

    @property
    def has_archive(self) -> bool:
        """Whether roots were taken away that no job will read again."""
        folder = self.folder
        return folder is not None and folder.name != "000001"

    def seal(self) -> None:
        """New records go to a new root from now on."""
        if isinstance(self._log, DirectoryLog):
            self._log.rotate()

    def is_finished(self, store: Store) -> bool:
        """Whether a sealed root waits and everything that was accepted into it is recorded."""
        if not isinstance(self._log, DirectoryLog) or len(self._log.roots()) < 2:
            return False
        oldest = self._log.roots()[0]
        names = {path.stem for path in oldest.glob("*/*.log")}
        return not any(mark.segment in names for mark in missing(self._log.mark(), store))

    def archive(self) -> None:
        """Take the sealed roots away; only while the job is stopped."""
        if isinstance(self._log, DirectoryLog):
            self._log.archive()
