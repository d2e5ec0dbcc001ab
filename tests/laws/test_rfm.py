"""Recency, frequency and money of a shop's customers as a ruleset, against pandas over the same orders."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.local_job import LocalJob
from store.client import Store
from tests.real_data import needs_retail, order_events, orders
from tests.worlds import World, lines

RFM = """
behaviour:
  rules:
    - {name: orders, event: Order Completed, where: "number(properties['revenue']) >= 0", points: 2,
       cap: {count: 1, per: day}, decay: {window: 180d}}
    - {name: spent, event: Order Completed, points: 0.1, times: "number(properties['revenue'])", between: [0, 40],
       decay: {window: 180d}}
    - {name: returns, event: Order Completed, where: "number(properties['revenue']) < 0", points: -1.5,
       decay: {window: 365d}}
  inactivity: {after: 30d, points: -10, every: 30d, floor: -60}
  robots: [{name: burst, more_than: 6, per: day}]
  cap: {points: 60, per: week}
  floor: 0
  ceiling: 100
identity:
  grades: {regular: 3, known: 1}
  ceiling: 3
  rules:
    - {name: known, when: event_count >= 1, points: 1}
    - {name: again, when: event_count >= 5, points: 2.5}
"""
DATES = ("2011-03-31", "2011-09-12", "2011-12-09")


def expected(found: pd.DataFrame, on: str) -> pd.DataFrame:
    """Behaviour score, grade and orders that count by customer, by pandas, on a day."""
    seen = found[found.day <= on]
    of_day = seen.groupby(["customer_id", "day"], observed=True).pence
    counts = seen[of_day.transform("size") <= 6]
    days = pd.DataFrame(
        {
            "given": counts.pence.clip(0, 40_000)
            .groupby([counts.customer_id, counts.day], observed=True)
            .sum(),
            "orders": (counts.pence >= 0).groupby([counts.customer_id, counts.day], observed=True).any()
            * 2000,
            "taken": (counts.pence < 0).groupby([counts.customer_id, counts.day], observed=True).sum() * 1500,
        }
    ).reset_index()
    number = (pd.to_datetime(days.day) - pd.Timestamp("1970-01-01")).dt.days
    age = (pd.Timestamp(on) - pd.Timestamp("1970-01-01")).days - number
    days["given"] += days.orders
    filled = days.groupby([days.customer_id, (number + 3) // 7], observed=True).given.cumsum()
    left = filled.clip(upper=60_000) - (filled - days.given).clip(upper=60_000)
    days["points"] = left * (age < 180) - days.taken * (age < 365)
    idle = age.groupby(days.customer_id, observed=True).min()
    times = np.where(idle < 30, 0, np.minimum(1 + (idle - 30) // 30, 6))
    customers = seen.groupby("customer_id", observed=True).size()
    points = days.groupby("customer_id", observed=True).points.sum() - 10_000 * times
    score = points.reindex(customers.index, fill_value=0).clip(0, 100_000) / 1000
    grade = np.where(customers >= 5, "regular", "known")
    return pd.DataFrame({"score": score, "grade": grade, "orders": customers})


@needs_retail
def test_every_customer_has_the_score_that_pandas_says_on_three_dates(store: Store, tmp_path: Path) -> None:
    found = orders()
    world = World(
        tmp_path, "rfm", workspace="time_zone: UTC\nregion: GB\n", scoring=RFM,
        identity="namespaces: [{name: user_id, max_per_profile: 1}]",
    )  # fmt: skip
    told = world.events(order_events(found.sample(frac=1, random_state=1)), size=1000)
    job = LocalJob(store, world.home)
    job.run(lines([world.opened("g1"), world.activated("g1"), world.date(DATES[0]), *told]))
    customers = found.customer_id.unique()
    id_of = {customer: world.identifier("user_id", str(customer)) for customer in customers}
    for on in DATES:
        job.run(lines([world.date(on)]))
        is_so = store.query_arrow(
            "SELECT profile_id, behaviour_score AS score, identity_grade AS grade, toInt64(event_count) AS orders"
            " FROM kintsugi.profiles WHERE workspace = 'rfm'"
        ).to_pandas()
        should = expected(found, on)
        should.index = pd.Index([id_of[customer] for customer in should.index], name="profile_id")
        pd.testing.assert_frame_equal(
            is_so.set_index("profile_id").sort_index(), should.sort_index(), check_dtype=False
        )
    assert (should.score.min(), should.score.max()) == (0, 100)
    assert len(should) == found.customer_id.nunique() > 4000
