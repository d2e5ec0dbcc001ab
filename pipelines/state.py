"""Key-value state of a keyed step, backed by Flink's MapState with a write-back cache.

Invariant: the cache belongs to one attempt and one key, holds only what Flink's state holds or what `flush` is about
to write, and is flushed before an element is done, sooner when much has changed; so every checkpoint, which never falls
inside an element, sees all of it.
"""

from typing import Any

CACHE_LIMIT = 500_000
CHANGED_LIMIT = 100_000
"""Changed keys that wait to be written: one element may build a generation over all of history."""
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
        if present and self._in_bulk:
            self._map.put_all(present)
        elif present:
            for key, value in present.items():
                self._map.put(key, value)
        for key in changed.keys() - present.keys():
            self._map.remove(key)
        self._dirty.clear()
        if len(self._cache) > CACHE_LIMIT:
            self._cache.clear()
