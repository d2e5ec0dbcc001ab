"""Speed and state of the resolver, its state in memory, beside plain union-find over the same links.

Usage: python -m benchmarks.bench_resolver [--links 1000000] [--json FILE]

Novel links, repeated ones (nine of ten), what an event costs as links grow, a supernode, one person's cookies one by
one, all at once as a new generation is built, bytes of state. Seconds are of the processor, without making the
evidence; ratios compare both programs on this machine in this run. Union-find knows no limits, no sharing, no days, and
can undo nothing: it is the floor, not a rival. While links grow the values of the state are kept pickled, as a backend
keeps them: ten million links take about 8 GB.
"""

import argparse
import gc
import json
import pickle
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from time import process_time
from typing import Any, NamedTuple

import pyarrow as pa

from identity.bulk import Evidence
from identity.evidence import Link, Sighting
from identity.incremental import MemoryState, Resolver
from identity.rules import IdentityRules, NamespaceRule
from pipelines.local_job import DictState
from pipelines.state import Packed
from schemas.ids import identifier_id, ordered

BATCH = 1000
"""Events given to the resolver at once, as in the job."""

RULES = IdentityRules(
    (
        NamespaceRule("user_id", 1),
        NamespaceRule("phone", 3, {"user_id": 5, "wechat_openid": 10}),
        NamespaceRule("wechat_openid", None, {"user_id": 5}),
        NamespaceRule("anonymous_id", None, {"user_id": 5, "phone": 10}, {}, "latest", 180),
    )
)

Event = tuple[int, tuple[tuple[str, str], ...]]
"""Day, and (namespace, value) of each identifier."""


class Batch(NamedTuple):
    """Evidence given to the resolver at once."""

    sightings: list[Sighting]
    links: list[Link]


class Measured(NamedTuple):
    """One load: its links, and links per second of both programs."""

    load: str
    links: int
    resolver: float
    union_find: float


class PickledState(MemoryState):
    """Values as a backend keeps them; reading and writing them is counted, as it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.get = self._get  # type: ignore[assignment]

    def _get(self, key: str) -> Any | None:
        value = self.values.get(key)
        return None if value is None else pickle.loads(value)

    def put(self, key: str, value: Any) -> None:
        """Set the value of the key."""
        self.values[key] = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


class UnionFind:
    """Plain union-find with path halving: the least that joining identifiers costs."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def root(self, x: str) -> str:
        """Name of the set."""
        parent = self.parent
        while (up := parent.setdefault(x, x)) != x:
            parent[x] = x = parent.setdefault(up, up)
        return x

    def add(self, batch: Batch) -> None:
        """Join the ends of all links."""
        for a, b, _ in batch.links:
            self.parent[self.root(a)] = self.root(b)


def people() -> Iterator[Event]:
    """Events of people without end: three cookies, then a phone, then an account each; some share a device."""
    i = 0
    while True:
        user, phone = ("user_id", f"u{i}"), ("phone", f"p{i}")
        for week in range(3):
            cookie = ("anonymous_id", f"c{i}.{week}")
            yield week * 7, (cookie, phone)
            yield week * 7, (cookie, user)
        if i % 20 == 0:
            yield 22, (("anonymous_id", f"c{i}.2"), ("user_id", f"u{i + 1}"))
        i += 1


def mostly_repeated() -> Iterator[Event]:
    """The same, but nine of ten events were there before."""
    chance, seen = Random(1), list[Event]()
    for event in people():
        seen.append(event)
        yield event
        for _ in range(9):
            yield seen[chance.randrange(len(seen))]


def supernode() -> Iterator[Event]:
    """A shop's phone with customers without end."""
    i = 0
    while True:
        yield 0, (("phone", "shop"), ("wechat_openid", f"w{i}"))
        i += 1


def batches(events: Iterable[Event], links: int) -> Iterator[Batch]:
    """Evidence of the events until there are so many links."""
    source = iter(events)
    while links > 0:
        batch = Batch([], [])
        for day, identifiers in islice(source, min(BATCH, links)):
            ids = [(identifier_id(b"bench", name, "", value), name) for name, value in identifiers]
            batch.sightings.extend(Sighting(i, name, day) for i, name in ids)
            batch.links.extend(
                Link(*ordered(a, b), day) for k, (a, _) in enumerate(ids) for b, _ in ids[k + 1 :]
            )
        links -= len(batch.links)
        yield batch


def seconds(add: Callable[[Batch], object], load: Iterable[Batch]) -> float:
    """Processor time of taking the batches in, without that of making them."""
    total = 0.0
    for batch in load:
        start = process_time()
        add(batch)
        total += process_time() - start
    return total


def measure(load: str, source: Callable[[], Iterator[Event]], links: int) -> Measured:
    """Both programs over the same fresh load."""
    resolver, forest = Resolver(MemoryState(), RULES, 30), UnionFind()
    by_resolver = seconds(lambda batch: resolver.add(*batch), batches(source(), links))
    by_forest = seconds(forest.add, batches(source(), links))
    return Measured(load, links, links / by_resolver, links / by_forest)


def growth(source: Callable[[], Iterator[Event]], links: int) -> tuple[list[tuple[int, float]], PickledState]:
    """Microseconds an event costs after so many links, for steps up to `links`; and the state at the end.

    The median over batches: that Python's dict doubles now and then is no cost of the resolver, and a state backend's
    map does not.
    """
    state = PickledState()
    resolver = Resolver(state, RULES, 30)
    window = max(1, links // 50 // BATCH)
    told, done, load = list[tuple[int, float]](), 0, batches(source(), links)
    for start in (links // 100, links // 30, links // 10, links // 3, links - window * BATCH):
        seconds(lambda batch: resolver.add(*batch), islice(load, max(0, start // BATCH - done)))
        spent = [seconds(lambda batch: resolver.add(*batch), [batch]) for batch in islice(load, window)]
        if spent:
            told.append((start, median(spent) / BATCH * 1e6))
        done = start // BATCH + window
    return told, state


def one_by_one(cookies: int) -> tuple[float, int]:
    """(microseconds a cookie costs, ids written) while one person gets so many, each in a batch of its own.

    A cluster's row names its members, so a person who gets another identifier is written anew: linear in members for a
    batch, whatever number of them it brings, and quadratic over the life of a person whom nothing bounds.
    """
    resolver, written = Resolver(MemoryState(), RULES, 30), 0
    events = [(0, (("user_id", "u"), ("anonymous_id", f"c{i}"))) for i in range(cookies)]
    started = process_time()
    for event in events:
        for batch in batches([event], 1):
            written += sum(map(len, resolver.add(*batch).clusters.values()))
    return (process_time() - started) / cookies * 1e6, written


def at_once(source: Callable[[], Iterator[Event]], links: int) -> tuple[float, float]:
    """(microseconds, bytes of state) that an identifier costs when a generation is built over so many links."""
    load = list(batches(source(), links))
    seen = pa.table(
        dict(zip(("identifier_id", "kind", "day"), zip(*_all(load, 0), strict=True), strict=True))
    )
    seen = (
        seen.group_by("identifier_id").aggregate([("kind", "min"), ("day", "min")]).sort_by("identifier_id")
    )
    met = pa.table(dict(zip(("a", "b", "day"), zip(*_all(load, 1), strict=True), strict=True)))
    met = met.group_by(["a", "b"]).aggregate([("day", "min"), ("day", "max")])
    started, kept = process_time(), DictState()
    evidence = Evidence.of(
        seen.rename_columns(["identifier_id", "kind", "first"]),
        met.rename_columns(["a", "b", "first", "last"]),
    )
    Resolver(Packed(kept, ""), RULES, 30).build(evidence)
    spent, size = process_time() - started, sum(len(v) for v in kept.values.values() if isinstance(v, bytes))
    return spent / len(evidence.ids) * 1e6, size / len(evidence.ids)


def _all(load: list[Batch], part: int) -> list[Any]:
    return [piece for batch in load for piece in batch[part]]


def bytes_per_identifier(state: PickledState) -> float:
    """Keys and pickled values, as a state backend keeps them, by identifier."""
    values = state.values
    size = sum(len(key) + len(value) for key, value in values.items())
    return size / sum(key.startswith("i:") for key in values)


def main() -> None:
    """Measure and print; as JSON into a file where one is named."""
    gc.disable()  # passes over a state in memory would be counted as the resolver's work
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--links", type=int, default=1_000_000, help="the largest number of links")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    tenth = max(BATCH, given.links // 10)
    loads = [
        measure("novel", people, tenth),
        measure("nine of ten repeated", mostly_repeated, tenth),
        measure("one phone with all", supernode, tenth),
    ]
    for m in loads:
        print(
            f"{m.load:<22}{m.links:>10,} links {m.resolver:>10,.0f} links/s; union-find {m.union_find:>11,.0f}"
            f" ({m.union_find / m.resolver:.1f} times)"
        )
    steps: dict[str, list[tuple[int, float]]] = {}
    for name, source in (("people", people), ("one phone with all", supernode)):
        steps[name], state = growth(source, given.links)
        print(
            f"{name}: µs for an event after so many links: "
            + ", ".join(f"{n:,}: {us:.1f}" for n, us in steps[name])
        )
        if name == "people":
            held = bytes_per_identifier(state)
            print(f"state: {held:.0f} bytes for an identifier")
        del state
    us, size = at_once(people, given.links)
    print(f"all of {given.links:,} links at once: {us:.1f} µs and {size:.0f} bytes an identifier")
    lives = {n: one_by_one(n) for n in (1_000, 3_000, 10_000)}
    for n, (each, written) in lives.items():
        print(f"one person's {n:,} cookies, one by one: {each:.0f} µs each, {written:,} ids written")
    if given.json:
        told = {
            "loads": [m._asdict() for m in loads],
            "microseconds": steps,
            "state_bytes_per_identifier": held,
            "at_once": {"microseconds": us, "bytes": size},
            "one_by_one": lives,
        }
        given.json.write_text(json.dumps(told, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
