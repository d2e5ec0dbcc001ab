"""Backup and restore: an equal digest, and no backup that is not whole."""

import shutil
from pathlib import Path

import pytest

from kintsugi.backup import backup, restore
from kintsugi.digest import digest
from kintsugi.settings import Settings
from pipelines.local_job import LocalJob
from pipelines.log import LogSettings, open_log
from schemas.errors import Problem
from schemas.log_record import AnyRecord
from store.client import Store
from tests.stores import running_endpoint, running_store
from tests.worlds import World

WORKSPACE = "backup"
EVENTS = [
    {"type": "track", "event": "Form Submitted", "messageId": f"m{n}", "anonymousId": f"a{n % 7}",
     "userId": f"u{n % 4}", "timestamp": "2026-11-20T08:00:00Z"}
    for n in range(20)
]  # fmt: skip


def silent(_: str) -> None: ...


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with `data` and `keys` backed up from a home with a derived store, and that store's digest."""
    folder = tmp_path_factory.mktemp("backup 备份")
    home = folder / "home"
    settings = Settings.load({"KINTSUGI_HOME": str(home)})
    world = World(home, WORKSPACE)
    records: list[AnyRecord] = [
        world.opened("g"),
        world.activated("g"),
        world.date("2026-11-21"),
        *world.events(EVENTS),
    ]
    with open_log(LogSettings(home=home)) as log:
        log.append(records).result(10)
        log.mark()
        with running_store(home / "store") as store:
            LocalJob(store, home).run(log.read())
            found = str(digest(store, WORKSPACE))
    backup(settings, folder / "data", folder / "keys", silent)
    return folder, found


def restored(saved: Path, home: Path) -> Settings:
    settings = Settings.load({"KINTSUGI_HOME": str(home)})
    restore(settings, saved / "data", saved / "keys", silent)
    return settings


def test_a_restored_home_has_an_equal_digest_from_its_store_and_from_its_log(
    saved: tuple[Path, str], tmp_path: Path
) -> None:
    folder, before = saved
    home = restored(folder, tmp_path / "elsewhere").home
    with running_endpoint(home / "store") as endpoint:
        store = Store(endpoint.settings)
        assert str(digest(store, WORKSPACE)) == before
        assert str(digest(store, WORKSPACE, "2026-11-21")) == before
        store.close()
    with running_store(tmp_path / "empty") as empty, open_log(LogSettings(home=home)) as log:
        LocalJob(empty, home).run(log.read())
        assert str(digest(empty, WORKSPACE)) == before


def test_secrets_are_in_the_keyrings_folder_alone(saved: tuple[Path, str]) -> None:
    folder, _ = saved
    assert not list((folder / "data").rglob("keys"))
    assert list((folder / "keys").rglob("1.json"))
    assert (folder / "data").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("harm", ["changed", "missing", "added", "no manifest"])
def test_a_harmed_backup_is_refused_and_nothing_is_put_in_place(
    saved: tuple[Path, str], tmp_path: Path, harm: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(saved[0], copy, symlinks=True, ignore=shutil.ignore_patterns("home"))
    victim = next((copy / "data" / "log").rglob("*.log"))
    if harm == "changed":
        victim.write_bytes(victim.read_bytes()[:-2] + b"x\n")
    elif harm == "missing":
        victim.unlink()
    elif harm == "added":
        victim.with_name("more.log").write_bytes(b"x")
    else:
        (copy / "data" / "manifest.json").unlink()
    with pytest.raises(Problem):
        restored(copy, tmp_path / "home")
    assert not (tmp_path / "home" / "log").exists()


def test_nothing_is_overwritten_and_nothing_is_restored_without_a_keyring(
    saved: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = saved
    settings = restored(folder, tmp_path / "home")
    with pytest.raises(Problem, match="empty home"):
        restore(settings, folder / "data", folder / "keys", silent)
    with pytest.raises(Problem, match="not empty"):
        backup(settings, folder / "data", None, silent)
    with pytest.raises(Problem, match="keyring"):
        restore(Settings.load({"KINTSUGI_HOME": str(tmp_path / "other")}), folder / "data", None, silent)
    with pytest.raises(Problem, match="elsewhere"):
        backup(Settings.load({"KINTSUGI_STORE_URL": "http://x:8123"}), tmp_path / "b", None, silent)
