"""Backup and restore of a home: log, store and the job's last savepoint; the keyring apart, into a folder of its own.

Invariant: a backup is taken of a stopped stack (the lock of the supervisor is held meanwhile), so all parts are of one
moment; it counts only with its manifest, which is written last and holds the SHA-256 of every file. Whoever has log
and store without the keyring reads nobody; whoever lost the keyring has lost the people: keep both, not together.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from kintsugi import endpoints
from kintsugi.settings import Settings
from pipelines.log.segment import sync_folder
from schemas.errors import Problem

PARTS = ("log", "store", "kafka", "savepoints")
"""Folders of a home that are copied; checkpoints are not: they name absolute paths and a savepoint is newer."""
KEYS = "keys"
_MANIFEST = "manifest.json"
_BLOCK = 1 << 20

Say = Callable[[str], None]


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What a backup consists of."""

    version: int
    files: dict[str, str]
    """Path -> SHA-256; for a link, `-> ` and where it leads."""


def backup(settings: Settings, target: Path, keys: Path | None, say: Say) -> None:
    """Copy the home's parts into the new folder `target`, the keyring into `keys`. Problem where that cannot be."""
    _require_embedded(settings)
    with _stopped(settings):
        found = [part for part in PARTS if (settings.home / part).is_dir()]
        if "log" not in found and "kafka" not in found:
            raise Problem("bad_request", f"There is no log in {settings.home}: nothing to back up.")
        _save(settings.home, found, target)
        say(f"{', '.join(found)} are in {target}")
        if keys is None:
            say("the keyring is not in it: without --keys FOLDER what is backed up can never be read")
        else:
            _save(settings.home, [KEYS], keys)
            say(f"the keyring is in {keys}; keep it apart from the rest")


def restore(settings: Settings, source: Path, keys: Path | None, say: Say) -> None:
    """Bring a backup into an empty home; every file is compared with the manifest before anything is put in place."""
    _require_embedded(settings)
    sources = [(source, PARTS), *([(keys, (KEYS,))] if keys else [])]
    for folder, parts in sources:
        _check(folder, parts)
    with _stopped(settings):
        there = [part for part in (*PARTS, KEYS) if _holds_files(settings.home / part)]
        if there and (keys or there != [KEYS]):
            raise Problem(
                "bad_request", f"{settings.home} holds {', '.join(there)}; restore into an empty home."
            )
        if not keys and not there:
            raise Problem(
                "bad_request", "The keyring is neither here nor given: --keys FOLDER, where it was backed up."
            )
        for folder, parts in sources:
            for part in parts:
                if (folder / part).is_dir():
                    arriving = settings.home / f".{part}.arriving"
                    shutil.rmtree(arriving, ignore_errors=True)
                    shutil.copytree(folder / part, arriving, symlinks=True)
                    shutil.rmtree(settings.home / part, ignore_errors=True)
                    arriving.rename(settings.home / part)
        sync_folder(settings.home)
    say(f"restored into {settings.home}; `kintsugi up` goes on from there")


def _save(home: Path, parts: list[str], target: Path) -> None:
    if _holds_files(target):
        raise Problem("bad_request", f"{target} is not empty; a backup needs a folder of its own.")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    for part in parts:
        shutil.copytree(home / part, target / part, symlinks=True)
    files = {str(path.relative_to(target)): _sha256(path) for path in _files(target)}
    temporary = target / f".{_MANIFEST}"
    with temporary.open("wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(Manifest(1, files)), indent=1))
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(target / _MANIFEST)
    sync_folder(target)


def _check(folder: Path, parts: tuple[str, ...]) -> None:
    """Problem when the folder is no whole backup of these parts."""
    try:
        manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise Problem(
            "bad_request", f"{folder} is no backup, or one that was not finished: {error}"
        ) from None
    there = {str(path.relative_to(folder)): path for path in _files(folder) if path.name != _MANIFEST}
    for name in sorted(manifest.files.keys() ^ there.keys()):
        raise Problem(
            "bad_request", f"{folder}: {name} is {'missing' if name in manifest.files else 'not of it'}."
        )
    for name, path in there.items():
        if name.split("/")[0] not in parts:
            raise Problem("bad_request", f"{folder} holds {name}, which is no part of it.")
        if _sha256(path) != manifest.files[name]:
            raise Problem("bad_request", f"{folder}: {name} is not what was backed up.")


def _files(folder: Path) -> Iterator[Path]:
    """Files and links below a folder; links are not followed."""
    for root, folders, names in os.walk(folder):
        for name in (*names, *folders):
            path = Path(root, name)
            if path.is_symlink() or path.is_file():
                yield path


def _sha256(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _holds_files(folder: Path) -> bool:
    return folder.exists() and next(_files(folder), None) is not None


def _require_embedded(settings: Settings) -> None:
    elsewhere = [name for name, is_so in (("store", not settings.has_embedded_store),
                 ("log", settings.log == "kafka" and not settings.has_own_broker)) if is_so]  # fmt: skip
    if elsewhere:
        raise Problem("bad_request", f"The {' and the '.join(elsewhere)} run elsewhere: back them up with their own "
                      "tools, see docs/how-to/back-up-and-restore.md.")  # fmt: skip


@contextmanager
def _stopped(settings: Settings) -> Iterator[None]:
    """No stack runs, and none starts meanwhile."""
    settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (settings.run / "supervisor.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem(
                "bad_request", "A stack runs here; stop it in order first: `kintsugi down`."
            ) from None
        before: Any = endpoints.read(settings)
        if before and any(endpoints.is_alive(entry) for entry in before.processes.values()):
            raise Problem("bad_request", "Parts of a killed stack still run; `kintsugi down` ends them.")
        yield
