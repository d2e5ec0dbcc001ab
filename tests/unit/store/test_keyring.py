"""Secrets are written once, kept from others, and what was altered is noticed."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Problem
from store import keyring
from store.keyring import KeyGeneration

KEYS = KeyGeneration(1, b"p" * 32, b"d" * 32, "{}")


def test_a_created_generation_is_loaded_as_it_was(tmp_path: Path) -> None:
    created = keyring.create(tmp_path, "demo", '{"region":"CN"}')
    assert keyring.load(tmp_path, "demo") == created
    assert keyring.load(tmp_path, "demo", 1) == created
    assert created.generation == 1
    assert created.workspace == '{"region":"CN"}'
    assert len(created.pepper) == len(created.data_key) == 32
    assert created.pepper != created.data_key


def test_the_next_generation_keeps_the_secrets(tmp_path: Path) -> None:
    first = keyring.create(tmp_path, "demo", "{}")
    second = keyring.create(tmp_path, "demo", '{"a":1}')
    assert second.generation == 2
    assert second.unseal(first.seal(b"x")) == b"x"
    assert keyring.load(tmp_path, "demo", 1) == first
    assert keyring.load(tmp_path, "demo") == second


def test_two_workspaces_share_no_secret(tmp_path: Path) -> None:
    one, other = keyring.create(tmp_path, "a", "{}"), keyring.create(tmp_path, "b", "{}")
    assert {one.pepper, one.data_key}.isdisjoint({other.pepper, other.data_key})
    assert keyring.names(tmp_path) == ["a", "b"]


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    keyring.create(tmp_path, "demo", "{}")
    folder = tmp_path / "keys" / "demo"
    assert [path.name for path in folder.iterdir()] == ["1.json"]
    assert stat.S_IMODE((folder / "1.json").stat().st_mode) == 0o600
    os.chmod(folder / "1.json", 0o644)
    with pytest.raises(Problem, match="chmod 600"):
        keyring.load(tmp_path, "demo")


def test_no_secret_shows_in_a_traceback() -> None:
    assert "pppp" not in repr(KEYS)
    assert "dddd" not in repr(KEYS)


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", ".", "x" * 64, "名"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(Problem, match="cannot name a workspace"):
        keyring.create(tmp_path, name, "{}")


def test_an_unknown_workspace_is_said_to_be_unknown(tmp_path: Path) -> None:
    assert keyring.names(tmp_path) == []
    with pytest.raises(Problem) as raised:
        keyring.load(tmp_path, "demo")
    assert raised.value.code == "unknown_workspace"


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b'{"generation":1,"pepper":"AA==","data_key":"AA==","workspace":""}']
)
def test_a_damaged_file_is_noticed(tmp_path: Path, damage: bytes) -> None:
    keyring.create(tmp_path, "demo", "{}")
    (tmp_path / "keys" / "demo" / "1.json").write_bytes(damage)
    with pytest.raises(Problem, match="damaged") as raised:
        keyring.load(tmp_path, "demo")
    assert raised.value.code == "corrupt_record"


@given(st.binary())
def test_equal_values_are_sealed_equally_and_come_back(plain: bytes) -> None:
    assert KEYS.seal(plain) == KEYS.seal(plain)
    assert KEYS.unseal(KEYS.seal(plain)) == plain


@given(st.binary(), st.data())
def test_any_altered_character_is_noticed(plain: bytes, data: st.DataObject) -> None:
    sealed = KEYS.seal(plain)
    at = data.draw(st.integers(0, len(sealed.rstrip("=")) - 2))
    altered = sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :]
    with pytest.raises(Problem, match="altered"):
        KEYS.unseal(altered)


@pytest.mark.parametrize("text", ["", "A", "AAAA", "nicht base64!", "é"])
def test_what_was_never_sealed_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="altered"):
        KEYS.unseal(text)


def test_another_key_does_not_unseal() -> None:
    with pytest.raises(Problem, match="another key"):
        KeyGeneration(1, b"p" * 32, b"e" * 32, "{}").unseal(KEYS.seal(b"x"))
