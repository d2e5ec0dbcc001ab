"""Access keys: what they look like, who may do what with them, how they are kept.

A key is a prefix that tells its scope (`kw_` write, `kr_` read), 256 random bits in base 62 and a checksum,
so that a typing error or a leaked key is recognized without asking anyone. Invariant: keys themselves are
nowhere; the file `keys/access.json` of KINTSUGI_HOME holds keyed hashes of them, and a change of the file
counts from the next request on, in every process.
"""

import fcntl
import hmac
import json
import os
import secrets
import string
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from schemas.errors import Problem

SCOPES = ("ingest", "read", "pii", "steward")
"""ingest: send events; read: masked profiles; pii: with it, identifiers and traits in the clear; steward: read,
and say which identifiers are one person."""

_PREFIXES = {"ingest": "kw_", "read": "kr_", "pii": "kr_", "steward": "kr_"}
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM, _CHECK = 43, 6
"""Characters of 256 bits, and of 32 bits, in base 62."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a key allows."""

    workspace: str
    source: str
    """Name of what sends with this key; events carry it."""
    scopes: frozenset[str]
    id: str
    """Short public name of the key, fit for logs."""


def create_key(home: Path, workspace: str, scope: str, source: str = "default") -> str:
    """A new key of a workspace, live at once; it is returned here and can never be read again.

    Raises Problem `bad_request` for an unknown scope.
    """
    if scope not in SCOPES:
        raise Problem("bad_request", f"scope is one of {', '.join(SCOPES)}", "/scope")
    number = _base62(secrets.randbits(256), _RANDOM)
    body = _PREFIXES[scope] + number
    key = body + _checksum(body)
    scopes = ["read", scope] if scope in ("pii", "steward") else [scope]
    with _changing(home) as file:
        mac = _mac(file["secret"], key)
        entry = {"id": mac[:12], "workspace": workspace, "source": source, "scopes": scopes, "mac": mac}
        file["keys"].append(entry)
    return key


def revoke_key(home: Path, key_id: str) -> bool:
    """Ends the key with this public name; False when there is none."""
    with _changing(home) as file:
        kept = [entry for entry in file["keys"] if entry["id"] != key_id]
        found = len(kept) < len(file["keys"])
        file["keys"] = kept
    return found


def is_key(text: str) -> bool:
    """True for a text with the form and the checksum of a key, live or not."""
    if len(text) != 3 + _RANDOM + _CHECK or text[:3] not in _PREFIXES.values() or not text.isascii():
        return False
    return _checksum(text[:-_CHECK]) == text[-_CHECK:]


class AccessKeys:
    """The keys of a home, as its file stands now."""

    def __init__(self, home: Path) -> None:
        self._path = _path(home)
        self._stamp: tuple[int, int, int] | None = None
        self._secret = ""
        self._by_mac: dict[str, Access] = {}

    def access(self, key: str, scope: str) -> Access:
        """What the key allows, asked for one of SCOPES; its time tells nothing about other keys.

        Raises Problem `unknown_key`, or `wrong_scope` when the key is live but not for this.
        """
        access = self.find(key)
        if access is None:
            raise Problem("unknown_key")
        if scope not in access.scopes:
            raise Problem("wrong_scope")
        return access

    def find(self, key: str) -> Access | None:
        """What the key allows; None when it is not live."""
        self._reload()
        mac = _mac(self._secret, key)
        access = self._by_mac.get(mac)  # the place in the table follows from a keyed hash: nothing to learn
        return access if access is not None and hmac.compare_digest(access.id, mac[:12]) else None

    def _reload(self) -> None:
        try:
            state = os.stat(self._path)
        except FileNotFoundError:
            self._stamp, self._by_mac = None, {}
            return
        stamp = (state.st_ino, state.st_mtime_ns, state.st_size)
        if stamp == self._stamp:
            return
        file = json.loads(self._path.read_bytes())
        self._secret = file["secret"]
        self._by_mac = {
            entry["mac"]: Access(entry["workspace"], entry["source"], frozenset(entry["scopes"]), entry["id"])
            for entry in file["keys"]
        }
        self._stamp = stamp


def _path(home: Path) -> Path:
    return home / "keys" / "access.json"


@contextmanager
def _changing(home: Path) -> Iterator[dict[str, Any]]:
    """The content of the file, written back atomically and durably; one process at a time."""
    path = _path(home)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (path.parent / ".access.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            file = json.loads(path.read_bytes())
        else:
            file = {"version": 1, "secret": secrets.token_hex(32), "keys": []}
        yield file
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as new:  # mode 0600
            json.dump(file, new, indent=1)
            new.flush()
            os.fsync(new.fileno())
        os.replace(new.name, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _mac(secret: str, key: str) -> str:
    return blake2b(key.encode("utf-8", "replace"), digest_size=32, key=secret.encode()).hexdigest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
