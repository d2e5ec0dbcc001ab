"""From an identifier as people write it to its id, with the secrets of the workspace.

Invariant: a value takes the same way here as in the job (normal form, then keyed hash), so a phone in any
spelling leads to the profile that its events made.
"""

import threading
import time
from pathlib import Path
from typing import NamedTuple

from identity.normalize import normalize
from schemas.ids import identifier_id
from schemas.workspace import Workspace
from store import keyring
from store.keyring import KeyGeneration

SECRETS_SECONDS = 10.0
"""How long the newest key generation may be remembered."""


class Secrets(NamedTuple):
    """The newest key generation of a workspace."""

    workspace: Workspace
    keys: KeyGeneration


class SecretsOf:
    """Secrets by name of workspace, from the keyring of `home`. Thread-safe; reads a file now and then."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Secrets]] = {}

    def __call__(self, workspace: str) -> Secrets:
        """Raises Problem as `keyring.load` does."""
        now = time.monotonic()
        with self._lock:
            known = self._known.get(workspace)
        if known is not None and now - known[0] < SECRETS_SECONDS:
            return known[1]
        keys = keyring.load(self._home, workspace)
        secrets = Secrets(Workspace.from_json(workspace, keys.workspace), keys)
        with self._lock:
            self._known[workspace] = (now, secrets)
        return secrets


class Named(NamedTuple):
    """The id of an identifier, or why it can have none."""

    identifier_id: str = ""
    reason: str = ""
    """`unknown_namespace`, `missing_scope` or `no_normal_form`; empty when there is an id."""


def name(secrets: Secrets, namespace: str, scope: str, value: str) -> Named:
    """The identifier's id. The scope may stand behind the namespace, as in events: `wechat_openid:wx12`."""
    namespace, _, behind = namespace.partition(":")
    spec = secrets.workspace.namespaces.get(namespace)
    if spec is None:
        return Named(reason="unknown_namespace")
    scope = (scope or behind).strip() if spec.scope else ""
    if spec.scope and not scope:
        return Named(reason="missing_scope")
    form = normalize(spec, value, secrets.workspace.region)
    if form is None:
        return Named(reason="no_normal_form")
    return Named(identifier_id(secrets.keys.pepper, namespace, scope, form))
