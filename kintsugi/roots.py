"""Which root of the directory log the job reads, and when it may go on to the next.

The state of Flink's directory source grows with every file it has ever seen, so the log's root is rotated:
sealed, read to its end, archived; the job then starts on the next root under a new source uid. Invariant: the
job reads the oldest live root, and a root is archived only while no job runs, everything in it is recorded,
and a savepoint holds what the job made of it.
"""

from datetime import UTC, datetime
from pathlib import Path

from kintsugi.waiting import missing
from pipelines.log import Log, Mark
from pipelines.log.directory import DirectoryLog
from pipelines.log.segment import sync_folder, trailer_of
from store.client import Store


class Roots:
    """The log's source for the job; for a Kafka log there is one source for ever."""

    def __init__(self, log: Log) -> None:
        self._log = log if isinstance(log, DirectoryLog) else None

    @property
    def folder(self) -> Path | None:
        """The root that the job reads; None for a topic."""
        return self._log.roots()[0] if self._log else None

    @property
    def source_uid(self) -> str:
        """uid of the source that reads it."""
        folder = self.folder
        return f"source-{folder.name}" if folder else "source-topic"

    @property
    def is_rotation_due(self) -> bool:
        """Whether the only live root holds segments of an earlier day (UTC)."""
        if self._log is None or len(self._log.roots()) > 1:
            return False
        days = sorted(folder.name for folder in self._log.live_root().iterdir())
        return bool(days) and days[0] < f"{datetime.now(UTC):%Y-%m-%d}"

    @property
    def has_archive(self) -> bool:
        """Whether roots were taken away that no job will read again."""
        return self._log is not None and any(self._archive.glob("*"))

    @property
    def _archive(self) -> Path:
        assert self._log is not None
        return self._log.live_root().parent.parent / "archive"

    def seal(self) -> None:
        """New records go to a new root from now on; nothing where one is sealed already."""
        if self._log and len(self._log.roots()) == 1:
            self._log.rotate()

    def is_finished(self, store: Store) -> bool:
        """Whether the root that the job reads is sealed and everything in it is recorded."""
        if self._log is None or len(self._log.roots()) < 2:
            return False
        paths = sorted(self._log.roots()[0].glob("*/*.log"))
        # look at the last segment first: while it is missing, the others need not be read
        for chosen in (paths[-1:], paths):
            trailers = [trailer_of(path) for path in chosen]
            if missing([Mark(trailer.segment, tuple(trailer.workspaces)) for trailer in trailers], store):
                return False
        return True

    def archive(self) -> None:
        """Take the finished root away; only while the job is stopped."""
        if self._log and len(self._log.roots()) > 1:
            self._move(self._log.roots()[0], self._archive)

    def unarchive(self) -> None:
        """Bring every root back, for a job that starts from nothing; only while the job is stopped."""
        if self._log:
            for root in sorted(self._archive.iterdir()):
                self._move(root, self._log.live_root().parent)

    def _move(self, root: Path, folder: Path) -> None:
        before = root.parent
        root.rename(folder / root.name)
        for changed in (folder, before):
            sync_folder(changed)
