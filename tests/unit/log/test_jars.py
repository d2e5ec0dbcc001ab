"""Jars are exactly those of the lock, or it is said why they cannot be had."""

import hashlib
import re
from pathlib import Path

import pytest

from pipelines import jars
from pipelines.jars import JarsUnavailable, fetch, read_lock


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository within reach and no Maven folder of the user."""
    config = tmp_path / "jgo.conf"
    config.write_text("[repositories]\ncentral = http://127.0.0.1:1\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))


def lock(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> Path:
    """A lock with one jar of this content; the cache to use."""
    path = folder / "jars.lock"
    path.write_text(f"# a comment\nbroker org.example:part:1.0 {hashlib.sha256(content).hexdigest()}\n")
    monkeypatch.setattr(jars, "LOCK", path)
    cache = folder / "缓存 cache"
    cache.mkdir()
    return cache


def test_the_lock_names_coordinates_and_digests_and_no_hosts() -> None:
    for jar in read_lock():
        assert re.fullmatch(r"[\w.-]+:[\w.-]+:[\w.-]+", jar.coordinate)
        assert re.fullmatch(r"[0-9a-f]{64}", jar.sha256)
    assert "//" not in jars.LOCK.read_text()
    locked = {jar.coordinate for jar in read_lock()}
    assert {root for roots in jars.SETS.values() for root in roots} <= locked
    assert len({jar.file_name for jar in read_lock()}) == len(read_lock())


@pytest.mark.usefixtures("nowhere")
def test_a_cached_jar_needs_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = lock(tmp_path, monkeypatch, b"right")
    (cache / "part-1.0.jar").write_bytes(b"right")
    assert fetch("broker", cache) == [cache / "part-1.0.jar"]


@pytest.mark.usefixtures("nowhere")
def test_a_jar_that_is_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = lock(tmp_path, monkeypatch, b"right")
    with pytest.raises(JarsUnavailable, match=r"org\.example:part:1\.0 cannot be had"):
        fetch("broker", cache)


@pytest.mark.usefixtures("nowhere")
def test_a_jar_with_other_bytes_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = lock(tmp_path, monkeypatch, b"right")
    (cache / "part-1.0.jar").write_bytes(b"tampered")
    there = tmp_path / "m2" / "org" / "example" / "part" / "1.0"
    there.mkdir(parents=True)
    (there / "part-1.0.jar").write_bytes(b"tampered too")
    with pytest.raises(JarsUnavailable, match="SHA-256"):
        fetch("broker", cache)
    (there / "part-1.0.jar").write_bytes(b"right")
    assert fetch("broker", cache)[0].read_bytes() == b"right"


def test_a_set_that_no_lock_knows_is_refused() -> None:
    with pytest.raises(JarsUnavailable, match="no such set"):
        fetch("unheard of")
