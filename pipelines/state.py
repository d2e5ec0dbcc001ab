"""Key-value state of a keyed step, backed by Flink's MapState with a write-back cache.

Invariant: the cache belongs to one attempt and one key, holds only what Flink's state holds or what `flush` is about
to write, and is flushed before an element is done, sooner when much has changed; so every checkpoint, which never falls
inside an element, sees all of it.
"""

import pickle
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from identity.packs import Pack, records

CACHE_LIMIT = 500_000
CHANGED_LIMIT = 100_000
"""Changed keys that wait to be written: one element may build a generation over all of history."""
PACKS_KEPT = 2_000
"""Packs that stay unpacked in memory, some 25 kB each."""
_WRITTEN_TOGETHER = 2_000
_ABSENT = object()


class FlinkState:
    """`get`, `put`, `delete` over a MapState of one key, whose values Flink pickles."""

    def __init__(self, map_state: Any, *, in_bulk: bool) -> None:
        """`in_bulk`: write with one call; in process mode PyFlink 2.2's `put_all` fails on every dict."""
        self._map = map_state
        self._in_bulk = in_bulk
        self._cache: dict[str, Any] = {}
        self._dirty: set[str] = set()

    def get(self, key: str) -> Any:
        """Value of the key, or None."""
        value = self._cache.get(key, _ABSENT)
        if value is _ABSENT:
            value = self._cache[key] = self._map.get(key)
        return value

    def put(self, key: str, value: Any) -> None:
        """Set the value; it reaches Flink at `flush` at the latest."""
        self._cache[key] = value
        self._dirty.add(key)
        if len(self._dirty) >= CHANGED_LIMIT:
            self.flush()

    def delete(self, key: str) -> None:
        """Forget the key."""
        self.put(key, None)

    def read(self, key: str) -> Any:
        """Value of a key that is written by `write` alone; nothing keeps it in memory."""
        return self._map.get(key)

    def write(self, values: Mapping[str, Any]) -> None:
        """Set many values at once."""
        if self._in_bulk:
            self._map.put_all(dict(values))
        else:
            for key, value in values.items():
                self._map.put(key, value)

    def delete_prefix(self, prefix: str) -> None:
        """Forget every key that begins with the prefix; reads all keys."""
        self.flush()
        for key in [key for key in self._map.keys() if key.startswith(prefix)]:  # noqa: SIM118 MapState is no dict
            self._map.remove(key)
            self._cache.pop(key, None)

    def flush(self) -> None:
        """Write what changed; called at the end of every element."""
        changed = {key: self._cache[key] for key in self._dirty}
        present = {key: value for key, value in changed.items() if value is not None}
        if present:
            self.write(present)
        for key in changed.keys() - present.keys():
            self._map.remove(key)
        self._dirty.clear()
        if len(self._cache) > CACHE_LIMIT:
            self._cache.clear()


class Packed:
    """State of one generation behind a prefix: what it was built with in packs of many records, changes above them.

    A pack is never written again; a record of it that changes gets a key of its own, one that goes is marked as gone.
    So a generation costs a write for every PACK identifiers, and an event costs what it costs without packs, and the
    reading of a pack for each identifier that it meets for the first time.
    """

    def __init__(self, state: Any, prefix: str) -> None:
        self._state = state
        self._prefix = prefix
        self._firsts: tuple[str, ...] = state.get(prefix + "packs") or ()
        """First identifier of each pack."""
        self._unpacked: dict[int, Mapping[str, Mapping[str, Any]]] = {}

    def get(self, key: str) -> Any:
        """Value of the key, or None."""
        value = self._state.get(self._prefix + key)
        return self._built(key) if value is None else None if value is False else value

    def put(self, key: str, value: Any) -> None:
        """Set the value of the key."""
        self._state.put(self._prefix + key, value)

    def delete(self, key: str) -> None:
        """Forget the key."""
        if self._built(key) is None:
            self._state.delete(self._prefix + key)
        else:
            self._state.put(self._prefix + key, False)

    def fill(self, packs: Iterable[Pack]) -> None:
        """Build in packs of identifiers, ascending."""
        firsts: list[str] = []
        source = iter(packs)
        while some := list(islice(source, _WRITTEN_TOGETHER)):
            names = [f"{self._prefix}p:{len(firsts) + n}" for n in range(len(some))]
            self._state.write({name: pickle.dumps(tuple(p)) for name, p in zip(names, some, strict=True)})
            firsts += [pack.ids[0] for pack in some]
        self._firsts = tuple(firsts)
        self._state.put(self._prefix + "packs", self._firsts)

    def _built(self, key: str) -> Any:
        """What the packs say of a key."""
        letter, _, rest = key.partition(":")
        if not self._firsts or len(letter) > 1:
            return None
        identifier, _, more = rest.partition(":")
        number = bisect_right(self._firsts, identifier) - 1
        if number < 0:
            return None
        if number not in self._unpacked:
            if len(self._unpacked) >= PACKS_KEPT:
                self._unpacked.clear()
            pack = self._state.read(f"{self._prefix}p:{number}")
            self._unpacked[number] = records(Pack(*pickle.loads(pack)))  # noqa: S301 our own
        fields = self._unpacked[number].get(identifier)
        return None if fields is None else fields.get(letter + more)
