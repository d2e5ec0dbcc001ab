"""What it costs to put rules in force over history: hits, map and golden records, beside a plain Python program.

Usage: python -m benchmarks.bench_scores [--events 100000 1000000] [--json FILE]

The job's own steps, without Flink, open generations of twenty rules over stored events, ten of each person: `resolve`
derives the hits and the map, `score` reads, computes and writes every profile. The rules of one give points alone;
those of the other have stages among them, folded over sixty days, and a tag. The plain program adds up the latter's
behaviour rules in a dictionary, once over the events, with no caps by day, no traits and nothing stored.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from kintsugi.fresh_store import fresh_store
from pipelines.land import Land
from pipelines.local_job import DictState
from pipelines.resolve import Resolve, Versions
from pipelines.score import Score
from schemas.log_record import AnyRecord, encode
from store.client import Store
from tests.worlds import IDENTITY, WORKSPACE, World

EVENTS = 10
"""Events of one person."""
DATE = "2026-11-01"
NAMES = ["Page Viewed", "Webinar Joined", "Content Downloaded", "Form Submitted", "Checked In"]
DECAYS = ["none", "{half_life: 14d}", "{window: 60d}", "{linear: 90d}"]
BEHAVIOUR = [
    (f"rule_{i}", NAMES[i % 5], 1 + i, DECAYS[i % 4], "" if i % 3 else ", cap: {points: 30, per: day}")
    for i in range(15)
]
STAGED = 12
"""Behaviour rules of the generation with stages."""
_RULE = "    - {{name: {}, event: {}, where: \"number(properties['n']) >= {}\", points: {}, decay: {}{}}}\n"


def _points(rules: int) -> str:
    """So many behaviour rules, silence, and four identity rules."""
    behaviour = [
        _RULE.format(name, event, i, *rest) for i, (name, event, *rest) in enumerate(BEHAVIOUR[:rules])
    ]
    return f"""
behaviour:
  rules:
{"".join(behaviour)}
  inactivity: {{after: 30d, points: -5, every: 30d, floor: -20}}
identity:
  rules:
    - {{name: known, when: "has(identifiers, 'user_id')", points: 20}}
    - {{name: city, when: "traits['city'] IN ('Shanghai', 'Beijing')", points: 15}}
    - {{name: many, when: "event_count > 5", points: 5}}
    - {{name: student, when: "traits['title'] = 'student'", points: -40}}
"""


POINTS = _points(len(BEHAVIOUR))
SCORING = f"""{_points(STAGED)}
stages:
  - {{name: mql, when: "behaviour_score >= 40 AND identity_score >= 20"}}
  - {{name: sql, when: "behaviour_score >= 90 AND identity_score >= 20"}}
tags:
  - {{name: city/shanghai, when: "traits['city'] = 'Shanghai'"}}
"""
_PERSON = "lower(hex(sipHash128(intDiv(number, {n:UInt64}))))"
_EVENT = "lower(hex(sipHash128(number, 1)))"
_AT = "toDateTime64('2026-09-01', 6, 'UTC') + INTERVAL number % 60 DAY"
_EVIDENCE = {
    "events": f"""(workspace, event_id, type, event, message_id, source, occurred_at, received_at, day, is_robot,
        properties, context, sealed, identifiers, kinds)
        SELECT {{w:String}}, {_EVENT}, 'track', {{names:Array(String)}}[1 + number % 5], '', 'bench', {_AT}, {_AT},
            toDate32({_AT}), 0, concat('{{"n":', toString(number % 17), '}}'), '{{}}', '', [{_PERSON}], ['user_id']
        FROM numbers({{from:UInt64}}, {{many:UInt64}})""",
    "traits": f"""(workspace, identifier_id, name, event_id, value, occurred_at, received_at, day, identifiers, kinds)
        SELECT {{w:String}}, {_PERSON} AS person, 'city', {_EVENT}, ['Shanghai', 'Wuhan'][1 + intDiv(number, 10) % 2],
            {_AT}, {_AT}, toDate32({_AT}), [person], ['user_id']
        FROM numbers({{from:UInt64}}, {{many:UInt64}}) WHERE number % {{n:UInt64}} = 0""",
    "sightings": f"""(workspace, identifier_id, kind, day, received_at, example_event)
        SELECT {{w:String}}, {_PERSON}, 'user_id', toDate32({_AT}), {_AT}, {_EVENT}
        FROM numbers({{from:UInt64}}, {{many:UInt64}})""",
    "identifiers": f"""(workspace, identifier_id, namespace, scope, kind, mask, sealed, received_at)
        SELECT {{w:String}}, {_PERSON}, 'user_id', '', 'user_id', '****', '', {_AT}
        FROM numbers({{from:UInt64}}, {{many:UInt64}}) WHERE number % {{n:UInt64}} = 0""",
}
PORTION = 1_000_000


def fill(store: Store, workspace: str, events: int) -> None:
    """Store the evidence of so many events."""
    for start in range(0, events, PORTION):
        given = {
            "w": workspace,
            "names": NAMES,
            "n": EVENTS,
            "from": start,
            "many": min(PORTION, events - start),
        }
        for table, sql in _EVIDENCE.items():
            store.execute(f"INSERT INTO kintsugi_store.{table} {sql}", given)


def plain(events: int) -> int:
    """Points by person and rule in a dictionary; returns how many people have any."""
    by_event: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for least, (_, event, points, _, _) in enumerate(BEHAVIOUR[:STAGED]):
        by_event[event].append((least, points))
    points_of: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for number in range(events):
        properties = json.loads(f'{{"n":{number % 17}}}')
        for least, points in by_event[NAMES[number % 5]]:
            if properties["n"] >= least:
                points_of[number // EVENTS][least] += points
    return len(points_of)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work returns, and its seconds."""
    started = time.monotonic()
    return work(), time.monotonic() - started


def measure(store: Store, home: Path, events: int) -> dict[str, Any]:
    """Seconds and rates of each step over so many stored events."""
    world = World(home, f"scores-{events}", WORKSPACE, IDENTITY, SCORING)
    fill(store, world.name, events)
    land = Land(store)
    resolve = Resolve(world.name, store, DictState(), Versions(store, "identity_map"), now=lambda: 1)
    score = Score(world.name, store, DictState(), Versions(store, "profile_rows"), now=lambda: 1)
    alone: dict[str, float] = defaultdict(float)
    staged: dict[str, float] = defaultdict(float)

    def through(record: AnyRecord, seconds: dict[str, float]) -> None:
        """A control record through the three steps, on the clock."""
        body = encode(record)[9:]
        told, spent = timed(lambda: list(land.control(body, "0/1")))
        seconds["land"] += spent
        for message in told:
            further, spent = timed(lambda message=message: list(resolve.on(message)))  # type: ignore[misc]
            seconds["resolve"] += spent
            for one in further:
                if one.what == "control":
                    seconds["score"] += timed(lambda one=one: score.control(one))[1]  # type: ignore[misc]

    through(world.date(DATE), staged)
    through(world.opened("points", world.rules(IDENTITY, POINTS)), alone)
    through(world.opened("bench"), staged)
    through(world.activated("bench"), staged)
    people, plain_seconds = timed(lambda: plain(events))
    profiles = store.query_rows(
        "SELECT countIf(generation = 'points'), countIf(generation = 'bench'), countIf(stage = 'mql')"
        " FROM kintsugi_store.profile_rows FINAL WHERE workspace = {w:String}",
        {"w": world.name},
    )[0]
    assert profiles[:2] == (people, people), (profiles, people)
    assert profiles[2], "the rules say something"
    whole = sum(staged.values())
    return {
        "events": events,
        "profiles": people,
        **{f"{name}_seconds": round(spent, 2) for name, spent in staged.items()},
        "hits_and_map_events_per_s": round(events / staged["resolve"]),
        "profiles_scored_per_s": round(people / alone["score"]),
        "with_stages_per_s": round(people / staged["score"]),
        "apply_us_per_event": round(whole / events * 1e6, 1),
        "plain_events_per_s": round(events / plain_seconds),
        "times_the_plain_program": round(whole / plain_seconds, 1),
        "load": round(psutil.getloadavg()[0], 1),
    }


def main() -> None:
    """Measure and print; as JSON into a file where one is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with fresh_store() as store, tempfile.TemporaryDirectory() as home:
        found = [measure(store, Path(home), events) for events in given.events]
    for name in found[0]:
        print(f"{name:<26}" + "".join(f"{figures[name]:>14,}" for figures in found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
