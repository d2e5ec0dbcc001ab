"""Secrets of the workspaces, kept outside the store: KINTSUGI_HOME/keys/<workspace>/<key generation>.json.

Invariant: a written key generation never changes and is readable by its owner alone. Ids and ciphertexts of
all generations of a workspace are made with the same secrets, so what generation 1 sealed, generation 2
unseals.
"""

import os
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from secrets import token_bytes
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.errors import Problem

SECRET_BYTES: Final = 32
NONCE_BYTES: Final = 12
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_FILE: Final = re.compile(r"(\d+)\.json")


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    """A file of the keyring; bytes are base64 in JSON."""

    generation: int
    pepper: bytes
    data_key: bytes
    workspace: str


@dataclass(frozen=True, slots=True)
class KeyGeneration:
    """What ids and ciphertexts of a workspace are made with."""

    generation: int
    """1, 2, ...; log records name it."""
    pepper: bytes = field(repr=False)
    """Key of the hashes that make ids (schemas.ids), 32 bytes."""
    data_key: bytes = field(repr=False)
    """Key of the ciphertexts, 32 bytes."""
    workspace: str = field(repr=False)
    """Definition of the workspace, canonical JSON, as it held when the generation began."""
    _cipher: AESGCM = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_cipher", AESGCM(self.data_key))

    def seal(self, plain: bytes) -> str:
        """Encrypts and authenticates: AES-256-GCM, base64 of nonce, ciphertext and tag.

        The nonce is a keyed hash of the plaintext, so the same plaintext always gives the same text: copies
        of a fact stay byte-equal and fall together in the store. The price: whoever reads the store sees
        which sealed values are equal (and their lengths), though not what they are, and cannot test a guess
        without the key. A nonce repeats only together with its plaintext, up to hash collisions of 96 bits.

        >>> keys = KeyGeneration(1, bytes(32), bytes(32), "{}")
        >>> keys.unseal(keys.seal(b"13800138000"))
        b'13800138000'
        """
        nonce = blake2b(plain, digest_size=64, key=self.data_key, person=b"kintsugi nonce").digest()[
            :NONCE_BYTES
        ]
        return b64encode(nonce + self._cipher.encrypt(nonce, plain, None)).decode()

    def unseal(self, sealed: str) -> bytes:
        """What `seal` was given. Raises Problem corrupt_record for anything that this key did not seal."""
        try:
            data = b64decode(sealed, validate=True)
            return self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], None)
        except (Base64Error, ValueError, InvalidTag):
            raise Problem("corrupt_record", "a sealed value was altered, or another key sealed it") from None


def create(home: Path, workspace_name: str, workspace: str) -> KeyGeneration:
    """Begins the next key generation of a workspace, the first one with new secrets; durable when this
    returns.

    `workspace` is the canonical JSON of its definition. Raises Problem when the name cannot be one, when a
    file of the keyring is damaged, or when another process created the same generation just now.
    """
    folder = _folder(home, workspace_name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = _generations(folder)
    if known:
        latest = load(home, workspace_name, "latest")
        secrets = (latest.pepper, latest.data_key)
    else:
        secrets = (token_bytes(SECRET_BYTES), token_bytes(SECRET_BYTES))
    generation = max(known, default=0) + 1
    file = _KeyFile(generation, *secrets, workspace)
    _write_once(folder / f"{generation}.json", msgspec.json.format(msgspec.json.encode(file), indent=2))
    return _keys(file)


def load(home: Path, workspace_name: str, generation: int | Literal["latest"] = "latest") -> KeyGeneration:
    """A key generation from its file.

    Raises Problem unknown_workspace where there is none, corrupt_record where the file is damaged,
    bad_request where others may read it.
    """
    folder = _folder(home, workspace_name)
    known = _generations(folder)
    wanted = max(known, default=0) if generation == "latest" else generation
    if wanted not in known:
        raise Problem(
            "unknown_workspace", f"workspace {workspace_name} has no keys of generation {generation}"
        )
    path = folder / f"{wanted}.json"
    if path.stat().st_mode & 0o077:
        raise Problem("bad_request", f"{path} must be readable by its owner alone: chmod 600 {path}")
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_KeyFile)
    except msgspec.MsgspecError as error:
        raise Problem("corrupt_record", f"{path} is damaged: {error}") from None
    if file.generation != wanted or {len(file.pepper), len(file.data_key)} != {SECRET_BYTES}:
        raise Problem("corrupt_record", f"{path} is damaged: generation or length of a secret is wrong")
    return _keys(file)


def names(home: Path) -> list[str]:
    """Workspaces that have keys, in alphabetical order."""
    root = home / "keys"
    if not root.is_dir():
        return []
    return sorted(
        entry.name for entry in root.iterdir() if _NAME.fullmatch(entry.name) and _generations(entry)
    )


def _keys(file: _KeyFile) -> KeyGeneration:
    return KeyGeneration(file.generation, file.pepper, file.data_key, file.workspace)


def _folder(home: Path, workspace_name: str) -> Path:
    if not _NAME.fullmatch(workspace_name):
        raise Problem(
            "bad_request",
            f"{workspace_name!r} cannot name a workspace: "
            "up to 63 of a-z, 0-9, _ and -, the first a letter or digit",
        )
    return home / "keys" / workspace_name


def _generations(folder: Path) -> list[int]:
    """Numbers of the generations in a folder."""
    if not folder.is_dir():
        return []
    found = (_FILE.fullmatch(entry.name) for entry in folder.iterdir())
    return sorted(int(match[1]) for match in found if match)


def _write_once(path: Path, content: bytes) -> None:
    """Writes a file that must not exist yet: whole or not at all, on the disk when this returns."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{token_bytes(4).hex()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        raise Problem("bad_request", f"{path} was created by another process just now") from None
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
