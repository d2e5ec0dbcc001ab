"""Speed of the resolver with its state in memory: novel links, repeated ones, a supernode.

Usage: python -m benchmarks.bench_resolver [people]
"""

import sys
from collections.abc import Iterable
from time import process_time

from identity.evidence import Link, Sighting
from identity.incremental import MemoryState, Resolver
from identity.rules import IdentityRules, NamespaceRule
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


def people(number: int) -> list[Event]:
    """Events of so many people: three cookies, then a phone, then an account each; some share a device."""
    events: list[Event] = []
    for i in range(number):
        user, phone = ("user_id", f"u{i}"), ("phone", f"p{i}")
        for week in range(3):
            cookie = ("anonymous_id", f"c{i}.{week}")
            events.append((week * 7, (cookie, phone)))
            events.append((week * 7, (cookie, user)))
        if i % 20 == 0:
            events.append((22, (("anonymous_id", f"c{i}.2"), ("user_id", f"u{i + 1}"))))
    return events


def supernode(openids: int) -> list[Event]:
    """A shop's phone with so many customers."""
    return [(0, (("phone", "shop"), ("wechat_openid", f"w{i}"))) for i in range(openids)]


def evidence(events: Iterable[Event]) -> list[tuple[list[Sighting], list[Link]]]:
    """Batches of sightings and links."""
    batches: list[tuple[list[Sighting], list[Link]]] = []
    for n, (day, identifiers) in enumerate(events):
        if n % BATCH == 0:
            batches.append(([], []))
        sightings, links = batches[-1]
        ids = [(identifier_id(b"bench", name, "", value), name) for name, value in identifiers]
        sightings += [Sighting(i, name, day) for i, name in ids]
        links += [Link(*ordered(a, b), day) for k, (a, _) in enumerate(ids) for b, _ in ids[k + 1 :]]
    return batches


def measure(what: str, resolver: Resolver, batches: list[tuple[list[Sighting], list[Link]]]) -> None:
    """Print links per second of processor time."""
    start = process_time()
    for sightings, links in batches:
        resolver.add(sightings, links)
    seconds = process_time() - start
    number = sum(len(links) for _, links in batches)
    print(f"{what:<28}{number:>9} links {number / seconds:>12,.0f} links/s")


def main() -> None:
    """Measure."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    resolver = Resolver(MemoryState(), RULES, 30)
    batches, shop = evidence(people(number)), evidence(supernode(number * 5))
    measure("novel", resolver, batches)
    measure("repeated", resolver, batches)
    measure("novel, one shared phone", resolver, shop)
    measure("repeated, one shared phone", resolver, shop)


if __name__ == "__main__":
    main()
