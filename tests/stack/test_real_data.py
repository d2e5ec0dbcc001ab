"""Real people's data through the real stack, judged by an oracle and by pandas."""

import random
import time

import pandas as pd

from benchmarks import commits
from schemas.events import admit
from tests.laws.test_commit_identities import truth_of
from tests.real_data import COMMITS, commit_items, needs_commits, needs_retail, order_events, orders
from tests.stacks import Stack
from tests.worlds import World

COMMIT_FILES = {
    name: (commits.RULES.parent / name).read_text("utf-8")
    for name in ("workspace.yaml", "identity.yaml", "scoring.yaml")
}
RETAIL_FILES = {
    "workspace.yaml": "time_zone: UTC\nregion: GB\n",
    "identity.yaml": "namespaces: [{name: user_id, max_per_profile: 1}]\n",
    "scoring.yaml": """
behaviour:
  rules:
    - {name: orders, event: Order Completed, points: 3, cap: {points: 5, per: day}}
    - {name: large, event: Order Completed, where: "number(properties['revenue']) >= 500", points: 10,
       cap: {points: 35, per: lifetime}}
    - {name: returns, event: Order Completed, where: "number(properties['revenue']) < 0", points: -2.5}
""",
}


@needs_commits
def test_commits_equal_the_oracle_and_every_order_has_one_digest(stack: Stack) -> None:
    items, found = commit_items()
    assert len(items) == COMMITS
    now = time.time_ns() // 1000
    shuffled, doubled = random.Random(1).sample(items, len(items)), [*items, *items]
    for name, told in (
        ("commits-given", items),
        ("commits-shuffled", shuffled),
        ("commits-doubled", doubled),
    ):
        secrets = None if name == "commits-given" else stack.keys_file("commits-given")
        stack.workspace(name, COMMIT_FILES, secrets=secrets)
        stack.append(name, told, now)
    stack.wait()
    distinct = len({bytes(item.e) for item in items})
    assert stack.count("events", "commits-given") == distinct
    assert stack.count("links", "commits-given") >= len(found.days)
    world = World(stack.home, "commits-given", *COMMIT_FILES.values())
    truth = truth_of(found, world.identifier)
    rows = stack.store.query_rows(
        "SELECT identifier_id, profile_id FROM kintsugi_store.identity_map FINAL WHERE workspace = 'commits-given'"
    )
    assert {i: i for i in truth.profile_of} | dict(rows) == truth.profile_of
    expected = stack.digest("commits-given")
    assert expected.identifiers > 100
    # every commit counts for its address: a name that no profile takes holds no record of its own
    owners = {truth.profile_of[world.identifier("email", email)] for email, _ in found.days}
    assert expected.profiles == len(owners)
    assert stack.digest("commits-shuffled") == expected
    assert stack.digest("commits-doubled") == expected


@needs_retail
def test_orders_count_and_score_as_pandas_says(stack: Stack) -> None:
    found = orders()
    assert len(found) > 20_000
    stack.workspace("retail", RETAIL_FILES)
    stack.append("retail", [admit(event) for event in order_events(found)], time.time_ns() // 1000)
    stack.wait()
    world = World(stack.home, "retail", *RETAIL_FILES.values())
    rows = stack.store.query_arrow(
        "SELECT profile_id, event_count, behaviour_score FROM kintsugi.profiles WHERE workspace = 'retail'"
    ).to_pandas()
    rows = rows.set_index("profile_id")
    by_day = (found.groupby(["customer_id", "day"], observed=True).size() * 3).clip(upper=5)
    everyone = found.customer_id.unique()

    def orders_of(which: "pd.Series[bool]") -> "pd.Series[int]":
        return found[which].groupby("customer_id", observed=True).size().reindex(everyone, fill_value=0)

    points = by_day.groupby(level=0, observed=True).sum().reindex(everyone)
    score = points + (orders_of(found.pence >= 50_000) * 10).clip(upper=35) - orders_of(found.pence < 0) * 2.5
    expected = pd.DataFrame({"score": score, "orders": found.groupby("customer_id", observed=True).size()})
    expected.index = [world.identifier("user_id", str(customer)) for customer in expected.index]
    assert len(rows) == len(expected) == found.customer_id.nunique()
    assert (rows.event_count.astype(int).sort_index() == expected.orders.sort_index()).all()
    assert (rows.behaviour_score.sort_index() == expected.score.sort_index()).all()
    revenue = stack.store.query_arrow(
        "SELECT profile_id, sum(toInt64(round(100 * JSONExtractFloat(properties, 'revenue')))) AS pence"
        " FROM kintsugi.profile_events WHERE workspace = 'retail' GROUP BY profile_id"
    ).to_pandas()
    pence = found.groupby("customer_id", observed=True).pence.sum()
    pence.index = [world.identifier("user_id", str(customer)) for customer in pence.index]
    assert (revenue.set_index("profile_id").pence.sort_index() == pence.sort_index()).all()
