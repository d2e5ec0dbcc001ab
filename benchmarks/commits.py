"""Commits of a public project as evidence: who wrote under which address and name, and who that truly is.

Invariant: what is judged are the distinct (email, handle) pairs, each of one person; a pair stands for its commits, and
belongs to the profile of its address, or of its name where the address is excluded, as an event does.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from identity.clusters import Assignment, clusters
from identity.evidence import Link, Sighting
from identity.quality import CauseCount
from identity.rules import IdentityRules, parse_rules

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "commit_identities.parquet"
"""Beside the checkout; it is no part of the repository."""
RULES = ROOT / "workspaces" / "commits" / "identity.yaml"
GAP, RULE, MISSING = "gap in the truth", "rule", "missing evidence"

Pair = tuple[str, str]
"""An email and a handle, as they stand in the file."""


class Days(NamedTuple):
    """First and last day of a pair, days since 1970-01-01, UTC."""

    first: int
    last: int


@dataclass
class Commits:
    """The pairs of a file with their days and people."""

    days: dict[Pair, Days] = field(default_factory=dict)
    people: dict[Pair, str] = field(default_factory=dict)
    """By `truth_by_name`."""
    people_by_email: dict[Pair, str] = field(default_factory=dict)

    @property
    def links(self) -> list[Link]:
        """Every link on its first and last day: between them no day changes anything."""
        return [
            Link(identifier("email", email), identifier("handle", handle), day)
            for (email, handle), days in self.days.items()
            for day in sorted(set(days))
        ]

    @property
    def sightings(self) -> list[Sighting]:
        """Every identifier on its first day, and both ends of a link on each of its days."""
        return sorted(
            {
                Sighting(identifier(kind, value), kind, day)
                for pair, days in self.days.items()
                for day in days
                for kind, value in zip(("email", "handle"), pair, strict=True)
            }
        )

    @property
    def last_day(self) -> int:
        """The day after which nothing is known."""
        return max(days.last for days in self.days.values())


def identifier(namespace: str, value: str) -> str:
    """A readable id; that of an email is smaller than that of a handle."""
    return f"{namespace}:{value}"


def read(path: Path = DATA, years: range | None = None) -> Commits:
    """The pairs of a file with the columns email, handle, occurred_at, truth_by_name, truth_by_email.

    `years`: of those years alone, as if the project had had no others.
    """
    wanted = ["email", "handle", "occurred_at", "truth_by_name", "truth_by_email"]
    table = pyarrow.parquet.read_table(path, columns=wanted)
    if years is not None:
        year = pa.compute.year(table["occurred_at"])
        table = table.filter(pa.compute.is_in(year, pa.array(years, pa.int64())))
    days = pa.compute.floor_temporal(table["occurred_at"], unit="day").cast(pa.date32()).cast(pa.int32())
    found = Commits()
    rows = zip(*(table[name].to_pylist() for name in wanted if name != "occurred_at"), strict=True)
    for day, (email, handle, by_name, by_email) in zip(days.to_pylist(), rows, strict=True):
        pair = (email, handle)
        known = found.days.get(pair, Days(day, day))
        found.days[pair] = Days(min(known.first, day), max(known.last, day))
        found.people[pair], found.people_by_email[pair] = by_name, by_email
    return found


def events(path: Path = DATA) -> Iterator[tuple[dict[str, Any], int]]:
    """(event, received_at in µs) of every row, in order of arrival: `identify` with two external ids."""
    table = pyarrow.parquet.read_table(path).sort_by(
        [("received_at", "ascending"), ("event_id", "ascending")]
    )
    times = [
        table[name].cast(pa.timestamp("us", "UTC")).to_pylist() for name in ("occurred_at", "received_at")
    ]
    rows = zip(*(table[name].to_pylist() for name in ("event_id", "email", "handle")), *times, strict=True)
    for message, email, handle, occurred, received in rows:
        ids = [{"type": "email", "id": email}, {"type": "handle", "id": handle}]
        yield (
            {
                "type": "identify",
                "messageId": message,
                "timestamp": occurred.isoformat(),
                "context": {"externalIds": ids},
            },
            int(received.timestamp() * 1_000_000),
        )


def rules(text: str) -> IdentityRules:
    """Rules of an identity.yaml, with the ids of this page."""
    return parse_rules(text, identifier, known_namespaces=("email", "handle"))


def assign(commits: Commits, wanted: IdentityRules) -> tuple[Assignment, dict[Pair, str]]:
    """What the rules say on the last day, and the profile of each pair."""
    found = clusters(commits.links, commits.sightings, [], wanted, commits.last_day)
    return found, {pair: profile_of(pair, found.profile_of, found.excluded) for pair in commits.days}


def profile_of(pair: Pair, profiles: Mapping[str, str], excluded: Mapping[str, str]) -> str:
    """Profile of the strongest end that clusters; of nobody's pair, a name of its own."""
    ends = [identifier("email", pair[0]), identifier("handle", pair[1])]
    usable = [end for end in ends if end not in excluded]
    return profiles[usable[0]] if usable else "nobody:" + "|".join(pair)


def causes(commits: Commits, assigned: Mapping[Pair, str]) -> list[CauseCount]:
    """Every wrong pair of pairs by cause; the sums are those of `identity.quality.quality`.

    A false merge whose two people are one by the other truth is a gap in the truth; other false merges are the
    rule's. A missed merge is missing evidence where no chain of addresses and names connects the two, else a rule
    stood against it; where the other truth sees two people as well, it is a gap in the truth.
    """
    plain, _ = assign(commits, IdentityRules())
    component = {pair: plain.profile_of[identifier("email", pair[0])] for pair in commits.days}
    merged: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for x, y in _together(assigned):
        if commits.people[x] != commits.people[y]:
            merged[GAP if commits.people_by_email[x] == commits.people_by_email[y] else RULE] += 1
    for x, y in _together(commits.people):
        if assigned[x] != assigned[y]:
            is_gap = commits.people_by_email[x] != commits.people_by_email[y]
            missed[GAP if is_gap else RULE if component[x] == component[y] else MISSING] += 1
    return [CauseCount(cause, merged[cause], missed[cause]) for cause in (RULE, MISSING, GAP)]


def _together(whole_of: Mapping[Pair, str]) -> Iterator[tuple[Pair, Pair]]:
    """Every two pairs of one whole; wholes are small here."""
    parts: dict[str, list[Pair]] = {}
    for pair, whole in whole_of.items():
        parts.setdefault(whole, []).append(pair)
    for members in parts.values():
        for n, x in enumerate(members):
            for y in members[n + 1 :]:
                yield x, y
