"""What a reader may see of a person: masks, or the clear text behind them.

Invariant: clear text is made here and nowhere else in the API, from sealed values, and only with the keys of
the workspace that the caller's key belongs to; without keys nothing sealed is even looked at.
"""

from typing import NamedTuple

from api.profiles import ProfileRow
from store.keyring import KeyGeneration


class ShownIdentifier(NamedTuple):
    """An identifier as one reader sees it."""

    identifier_id: str
    namespace: str
    scope: str
    value: str


class Shown(NamedTuple):
    """The parts of a profile that differ between readers."""

    identifiers: list[ShownIdentifier]
    traits: dict[str, str]
    hidden_traits: list[str]
    """Names of sensitive traits that are known and not shown."""


def masked(row: ProfileRow) -> Shown:
    """The profile for a reader without the scope `pii`."""
    identifiers = [ShownIdentifier(i.identifier_id, i.namespace, i.scope, i.mask) for i in row.identifiers]
    return Shown(identifiers, dict(sorted(row.traits.items())), sorted(row.sealed_traits))


def clear(row: ProfileRow, keys: KeyGeneration) -> Shown:
    """The profile for a reader with the scope `pii`. Raises Problem `corrupt_record`."""
    identifiers = [
        ShownIdentifier(i.identifier_id, i.namespace, i.scope, _unseal(i.sealed, keys))
        for i in row.identifiers
    ]
    opened = {name: _unseal(sealed, keys) for name, sealed in row.sealed_traits.items()}
    return Shown(identifiers, dict(sorted((row.traits | opened).items())), [])


def _unseal(sealed: str, keys: KeyGeneration) -> str:
    return keys.unseal(sealed).decode("utf-8", "replace")
