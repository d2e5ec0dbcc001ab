"""`kintsugi evaluate`: figures of profiles against a file of who is who."""

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from identity.clusters import clusters
from identity.evidence import Link, Sighting
from identity.quality import quality
from kintsugi.demo_data import journeys
from kintsugi.demo_data.truth import Truth
from kintsugi.demo_figures import known
from kintsugi.evaluate import Evaluation, evaluate, text
from kintsugi.settings import Settings
from pipelines.generations import Ruleset
from pipelines.local_job import LocalJob
from schemas.errors import Problem
from schemas.log_record import AnyRecord
from store.client import Store
from tests.worlds import World, lines

TRUTH = """namespace,scope,value,person
user_id,,u1,anna
email,,Anna@Firm.cn,anna
anonymous_id,,browser,anna
user_id,,u2,bert
anonymous_id,,browser,bert
email,,bert@home.cn,bert
email,,never@seen.cn,carl
email,,nobody@knows.cn,
"""


def event(number: int, **ids: Any) -> dict[str, Any]:
    return {"type": "identify", "messageId": f"m{number}", "timestamp": "2026-11-19T01:00:00Z", **ids}


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Settings:
    """Anna's browser is Bert's as well; Bert's mailbox was never seen with his account."""
    world = World(tmp_path, "judged")
    events = [
        event(1, userId="u1", anonymousId="browser", traits={"email": "anna@firm.cn"}),
        event(2, userId="u2"),
        event(3, anonymousId="x", traits={"email": "bert@home.cn"}),
        event(4, anonymousId="y", traits={"email": "nobody@knows.cn"}),
    ]
    records: list[AnyRecord] = [world.opened("g"), world.activated("g"), world.date("2026-11-20")]
    LocalJob(store, world.home).run(lines([*records, *world.events(events)]))
    return Settings.load({"KINTSUGI_HOME": str(tmp_path)})


def judged(settings: Settings, store: Store, path: Path) -> Evaluation:
    return evaluate(settings, store, "judged", path)


def test_profiles_are_judged_by_the_file(settings: Settings, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(TRUTH)
    found = judged(settings, store, path)
    assert (found.quality.items, found.quality.people, found.quality.clusters) == (6, 2, 3)
    assert found.unknown == 1
    assert (found.quality.false_pairs, found.quality.missed_pairs) == (3, 3)
    assert found.sizes == {1: 2, 4: 1}
    assert [error.parts for error in found.merges] == [{"anna": 3, "bert": 1}]
    assert [error.where for error in found.splits] == ["bert"]
    page = text(found)
    assert "6 identifiers of 2 people in 3 profiles; 1 rows never seen" in page
    assert "firm.cn" not in page
    told = json.loads(json.dumps(found.as_json()))
    assert told["quality"]["pairwise"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5}


def test_a_parquet_file_says_the_same(settings: Settings, store: Store, tmp_path: Path) -> None:
    plain, parquet = tmp_path / "truth.csv", tmp_path / "truth.parquet"
    plain.write_text(TRUTH)
    rows = [line.split(",") for line in TRUTH.splitlines()]
    columns = {name: pa.array([row[n] for row in rows[1:]], pa.string()) for n, name in enumerate(rows[0])}
    pyarrow.parquet.write_table(pa.table(columns), parquet)
    assert judged(settings, store, parquet) == judged(settings, store, plain)


def test_a_file_that_cannot_judge_says_why(settings: Settings, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("namespace,value\nemail,anna@firm.cn\n")
    with pytest.raises(Problem, match="no column person"):
        judged(settings, store, path)
    path.write_text("namespace,value,person\nemail,never@seen.cn,anna\n")
    with pytest.raises(Problem, match="ever seen"):
        judged(settings, store, path)


def test_the_generators_own_truth_gives_the_figures_of_the_pure_function(
    store: Store, tmp_path: Path
) -> None:
    world = World(tmp_path, "invented")
    truth = Truth()
    batches = list(journeys(7, 1_000, date(2026, 11, 1), 18))
    for batch in batches:
        truth.add(batch)
    records: list[AnyRecord] = [world.opened("g"), world.activated("g"), world.date("2026-11-20")]
    events = world.events([event for batch in batches for event in batch.events], 500)
    LocalJob(store, world.home).run(lines([*records, *events]))
    people = {key: person for key, person in truth.identifiers().items() if person is not None}
    path = tmp_path / "truth.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("namespace", "scope", "value", "person"), *((*key, p) for key, p in people.items())]
        )
    found = evaluate(Settings.load({"KINTSUGI_HOME": str(tmp_path)}), store, "invented", path)

    ask = {"w": "invented"}
    sightings = store.query_rows(
        "SELECT identifier_id, kind, toInt32(day) FROM kintsugi_store.sightings WHERE workspace = {w:String}",
        ask,
    )
    links = store.query_rows(
        "SELECT a, b, toInt32(day) FROM kintsugi_store.links WHERE workspace = {w:String}", ask
    )
    rules = Ruleset.from_json(world.ruleset).identity
    on = max(day for *_, day in sightings)
    assigned = clusters([Link(*row) for row in links], [Sighting(*row) for row in sightings], [], rules, on)
    expected = quality(assigned.profile_of, known(truth, world.workspace, world.keys).people)
    assert found.quality == expected
    assert expected.people > 100
    assert expected.missed_pairs > 0, "the generator plants what cannot be decided"
