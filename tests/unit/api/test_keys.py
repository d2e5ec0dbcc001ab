"""Promises of access keys: form, storage, scopes."""

import re
import stat
import threading
from pathlib import Path

import pytest

from api.keys import AccessKeys, create_key, is_key, revoke_key
from schemas.errors import Problem


def code_of(keys: AccessKeys, key: str, scope: str) -> str:
    with pytest.raises(Problem) as caught:
        keys.access(key, scope)
    return caught.value.code


def test_a_key_shows_its_scope_and_proves_its_spelling(tmp_path: Path) -> None:
    for scope, prefix in (("ingest", "kw_"), ("read", "kr_"), ("pii", "kr_")):
        key = create_key(tmp_path, "demo", scope)
        assert re.fullmatch(prefix + "[0-9A-Za-z]{49}", key)
        assert is_key(key)
        swapped = key[:10] + ("a" if key[10] != "a" else "b") + key[11:]
        assert not is_key(swapped)
    assert not is_key("kw_")
    assert not is_key("")


def test_a_key_allows_its_scope_in_its_workspace_and_nothing_else(tmp_path: Path) -> None:
    write, read, pii = (create_key(tmp_path, f"w{scope}", scope) for scope in ("ingest", "read", "pii"))
    keys = AccessKeys(tmp_path)
    assert keys.access(write, "ingest").workspace == "wingest"
    assert keys.access(write, "ingest").source == "default"
    assert keys.access(read, "read").scopes == {"read"}
    assert keys.access(pii, "read").scopes == {"read", "pii"}
    assert code_of(keys, write, "read") == "wrong_scope"
    assert code_of(keys, read, "ingest") == "wrong_scope"
    assert code_of(keys, read, "pii") == "wrong_scope"
    assert code_of(keys, pii, "ingest") == "wrong_scope"


def test_what_is_no_live_key_is_unknown(tmp_path: Path) -> None:
    keys = AccessKeys(tmp_path)
    assert code_of(keys, "", "ingest") == "unknown_key"
    key = create_key(tmp_path, "demo", "ingest")
    for wrong in ("", key[:-1], key + "0", key.lower(), "kw_\udc80", "\0"):
        assert code_of(keys, wrong, "ingest") == "unknown_key"


def test_the_file_holds_no_key_and_is_for_the_owner_only(tmp_path: Path) -> None:
    key = create_key(tmp_path, "demo", "ingest")
    file = tmp_path / "keys" / "access.json"
    assert key not in file.read_text()
    assert key[3:20] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in file.parent.iterdir()) == [".access.lock", "access.json"]


def test_changes_count_at_once(tmp_path: Path) -> None:
    keys = AccessKeys(tmp_path)
    first = create_key(tmp_path, "a", "ingest")
    access = keys.access(first, "ingest")
    second = create_key(tmp_path, "b", "ingest")
    assert keys.access(second, "ingest").workspace == "b"
    assert revoke_key(tmp_path, access.id)
    assert not revoke_key(tmp_path, access.id)
    assert code_of(keys, first, "ingest") == "unknown_key"
    assert keys.access(second, "ingest").workspace == "b"


def test_keys_made_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.extend(create_key(tmp_path, "w", "read") for _ in range(5)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = AccessKeys(tmp_path)
    assert len({keys.access(key, "read").id for key in made}) == 20


def test_an_unknown_scope_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem):
        create_key(tmp_path, "demo", "admin")
