"""A real project's commits: the resolver and the whole pipeline say what the naive oracle says, in any order.

The data lies beside a checkout and is no part of it; without it these tests are skipped.
"""

import random
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest
import yaml

from benchmarks import commits
from benchmarks.commits import Commits, identifier
from identity.incremental import MemoryState, Resolver
from identity.quality import quality
from pipelines.local_job import LocalJob
from schemas.log_record import AnyRecord
from tests.oracle import Truth, oracle
from tests.stores import running_store
from tests.worlds import World, lines

pytestmark = pytest.mark.skipif(
    not commits.DATA.exists(), reason="shared/data/commit_identities.parquet does not lie beside the checkout"
)
PLAIN_F1 = 0.950
"""Of plain union-find over emails and handles."""


@pytest.fixture(scope="module")
def found() -> Commits:
    return commits.read()


@pytest.fixture(scope="module")
def truth(found: Commits) -> Truth:
    """What the oracle says under the committed rules, on the last day."""
    return truth_of(found, identifier)


def truth_of(found: Commits, name: Callable[[str, str], str]) -> Truth:
    """The oracle, for each piece that evidence connects alone, since it is slow; `name` gives the ids."""
    document = yaml.safe_load(commits.RULES.read_text("utf-8"))
    document["blocked"]["values"] = []
    seen = nx.Graph()
    for email, handle in found.days:
        seen.add_edge(("email", email), ("handle", handle), days=found.days[email, handle])
    whole = Truth({}, {}, {})
    for piece in nx.connected_components(seen):
        links = [
            (*sorted((name(*x), name(*y))), day)
            for x, y, days in seen.subgraph(piece).edges(data="days")
            for day in days
        ]
        sightings = [
            (name(*node), node[0], min(days.first for _, _, days in seen.edges(node, data="days")))
            for node in piece
        ]
        part = oracle(links, sightings, [], document, name, found.last_day)
        whole.profile_of.update(part.profile_of)
        whole.excluded.update(part.excluded)
        whole.refused.update(part.refused)
    return whole


def test_the_function_equals_the_oracle_and_beats_union_find(found: Commits, truth: Truth) -> None:
    assignment, pairs = commits.assign(found, commits.rules(commits.RULES.read_text("utf-8")))
    assert assignment.profile_of == truth.profile_of
    assert assignment.refused == truth.refused
    figures = quality(pairs, found.people)
    assert figures.items == 2774
    assert figures.pairwise.f1 > PLAIN_F1 + 0.01
    plain = quality(commits.assign(found, commits.rules("namespaces: []"))[1], found.people)
    assert round(plain.pairwise.f1, 3) == PLAIN_F1, "another file than the one that these figures are of"
    causes = commits.causes(found, pairs)
    assert sum(cause.false_pairs for cause in causes) == figures.false_pairs
    assert sum(cause.missed_pairs for cause in causes) == figures.missed_pairs


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_the_resolver_equals_the_oracle_in_every_order(
    found: Commits, truth: Truth, seed: int | None
) -> None:
    resolver = Resolver(MemoryState(), commits.rules(commits.RULES.read_text("utf-8")), found.last_day)
    links = found.links
    if seed is not None:
        links += random.Random(seed).sample(links, 500)
        random.Random(seed).shuffle(links)
    resolver.add(found.sightings)
    for start in range(0, len(links), 100):
        resolver.add(links=links[start : start + 100])
    wrong = [i for i, profile in truth.profile_of.items() if resolver.current(i).profile_id != profile]
    assert not wrong


@pytest.mark.parametrize("seed", [None, 1])
def test_the_pipeline_equals_the_oracle_in_every_order(
    found: Commits, tmp_path: Path, seed: int | None
) -> None:
    """First and last commit of every pair; a commit between them can change nothing but scores."""
    home = commits.RULES.parent
    world = World(
        tmp_path / "home",
        "commits",
        *((home / f"{name}.yaml").read_text("utf-8") for name in ("workspace", "identity", "scoring")),
    )
    ends: dict[str, tuple[dict[str, object], int]] = {}
    for event, received_at in commits.events():
        # the day counts, so that of several commits at the ends any one will do
        pair, day = str(event["context"]), event["timestamp"][:10]
        first, last = ends.get(pair + "<"), ends.get(pair + ">")
        if first is None or day < str(first[0]["timestamp"])[:10]:
            ends[pair + "<"] = (event, received_at)
        if last is None or day > str(last[0]["timestamp"])[:10]:
            ends[pair + ">"] = (event, received_at)
    arrived = sorted(ends.values(), key=lambda told: told[1])
    if seed is not None:
        random.Random(seed).shuffle(arrived)
    records: list[AnyRecord] = [world.opened("g"), world.activated("g"), world.date("2026-11-21")]
    for start in range(0, len(arrived), 500):
        part = arrived[start : start + 500]
        # one record holds one received_at: the latest of the batch that a sender had put together
        records += world.events([event for event, _ in part], 500, max(at for _, at in part))
    with running_store(tmp_path / "data") as store:
        LocalJob(store, world.home, slots=1 if seed is None else 2, seed=seed or 0).run(lines(records))
        rows = store.query_rows("SELECT identifier_id, profile_id FROM kintsugi_store.identity_map FINAL")
    truth = truth_of(found, world.identifier)
    assert {i: i for i in truth.profile_of} | dict(rows) == truth.profile_of
