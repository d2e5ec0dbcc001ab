"""A second, naive implementation of the clustering function, from its five steps as the design states them.

It knows nothing of the code under test: rules come as the document of an identity.yaml, evidence as plain
tuples. Slow on purpose: every acceptance looks at whole clusters.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import networkx as nx

NO_LIMIT = 10**9


class Truth(NamedTuple):
    """What the oracle says: profile of each sighted identifier, who is excluded, which pairs are refused and why."""

    profile_of: dict[str, str]
    excluded: dict[str, str]
    refused: dict[tuple[str, str], tuple[str, str] | None]


def oracle(
    links: Iterable[tuple[str, str, int]],
    sightings: Iterable[tuple[str, str, int]],
    overrides: Iterable[tuple[str, str, str, int, str, int | None]],
    document: dict[str, Any],
    identify: Callable[[str, str], str],
    date: int,
) -> Truth:
    """Clusters on `date`; `identify` gives the id of a blocked (namespace, value)."""
    entries = {e["name"]: (n, e) for n, e in enumerate(document["namespaces"])}
    kind = {i: k for i, k, day in sightings if day <= date}
    first_seen = {i: min(d for j, _, d in sightings if i == j) for i in kind}
    space = {i: k.split("|")[0] for i, k in kind.items()}
    strength = {i: entries[n][0] if n in entries else len(entries) for i, n in space.items()}
    rule: dict[str, Any] = {i: entries[n][1] if n in entries else {} for i, n in space.items()}
    seen = nx.Graph()
    for a, b, day in links:
        if day <= date:
            seen.add_edge(a, b, days=[*(seen.edges[a, b]["days"] if seen.has_edge(a, b) else []), day])
    excluded = _blocked(kind, document["blocked"], identify)
    excluded |= _shared(seen.subgraph(set(seen) - excluded.keys()), space, rule)
    forces, nevers = _held(overrides, kind.keys() - excluded, date)

    joined = nx.Graph()
    joined.add_nodes_from(kind.keys() - excluded)

    def together(a: str, b: str) -> set[str]:
        return set(nx.node_connected_component(joined, a) | nx.node_connected_component(joined, b))

    for a, b in forces:
        if not any(pair <= together(a, b) for pair in nevers):
            joined.add_edge(a, b)
    groups = list(nx.connected_components(joined))

    def live(a: str, b: str) -> bool:
        ttl = min((int(rule[i]["link_ttl"][:-1]) for i in (a, b) if "link_ttl" in rule[i]), default=NO_LIMIT)
        return a in joined and b in joined and date < max(seen.edges[a, b]["days"]) + ttl

    def rank(pair: tuple[str, str]) -> tuple[Any, ...]:
        weaker, days = max(pair, key=lambda i: strength[i]), seen.edges[pair]["days"]
        return (strength[weaker], -max(days) if rule[weaker].get("keep") == "latest" else min(days), pair)

    def obstacle(whole: set[str]) -> tuple[str, str] | None:
        for pair in sorted(sorted(pair) for pair in nevers if pair <= whole):
            return "never_link", " ".join(pair)
        count = {n: sum(any(space[i] == n for i in g & whole) for g in groups) for n in set(space.values())}
        for n, (_, entry) in entries.items():
            if count.get(n, 0) > (most := entry.get("max_per_profile", NO_LIMIT)):
                return "limit", f"{n}: {most}"
        for n, (_, entry) in entries.items():
            for m, most in sorted(entry.get("with", {}).items()):
                if count.get(n) and count.get(m, 0) > most:
                    return "with", f"{n} with {m}: {most}"
        return None

    pairs = sorted(((min(e), max(e)) for e in seen.edges if live(*e)), key=rank)
    for a, b in pairs:
        if not obstacle(together(a, b)):
            joined.add_edge(a, b)
    profile_of = {i: i for i in excluded}
    for cluster in nx.connected_components(joined):
        profile_of |= dict.fromkeys(cluster, min(cluster, key=lambda i: (first_seen[i], strength[i], i)))
    pairs += forces
    refused = {(a, b): obstacle(together(a, b)) for a, b in pairs if profile_of[a] != profile_of[b]}
    return Truth(profile_of, excluded, refused)


def _blocked(
    kind: dict[str, str], blocked: dict[str, Any], identify: Callable[[str, str], str]
) -> dict[str, str]:
    """Step 1."""
    ids = {identify(n, str(v)) for item in blocked["values"] for n, v in item.items()}
    patterns = set(blocked["patterns"])
    named = {i: set(k.partition("|")[2].split(",")) for i, k in kind.items()}
    return {i: "blocked" for i in kind if i in ids or named[i] & patterns}


def _shared(unblocked: nx.Graph, space: dict[str, str], rule: dict[str, Any]) -> dict[str, str]:
    """Step 2."""
    return {
        i: "shared"
        for i in unblocked
        for namespace, most in rule[i].get("shared_above", {}).items()
        if sum(space[j] == namespace for j in unblocked[i]) > most
    }


def _held(
    overrides: Iterable[tuple[str, str, str, int, str, int | None]], usable: set[str], date: int
) -> tuple[list[tuple[str, str]], list[set[str]]]:
    """Step 3: forced pairs, newest first, and never-linked ones."""
    newest = {frozenset(o[:2]): o for o in sorted(overrides, key=lambda o: (o[3], o[4]))}
    held = [o for o in newest.values() if (o[5] is None or date < o[5]) and {o[0], o[1]} <= usable]
    held.sort(key=lambda o: (o[3], o[4]), reverse=True)
    forces = [(min(o[:2]), max(o[:2])) for o in held if o[2] == "force"]
    return forces, [{o[0], o[1]} for o in held if o[2] == "never"]
