"""Stage, tags and segments through the whole pipeline, against a plain simulation of every single day."""

import random
import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from kintsugi.digest import digest
from pipelines.local_job import LocalJob
from schemas.log_record import AnyRecord
from store.client import Store
from store.overrides import days_of
from tests.worlds import World, lines

IDENTITY = "namespaces: [{name: user_id, max_per_profile: 2}, {name: phone}, {name: anonymous_id}]"
SCORING = """
behaviour:
  rules:
    - {name: page, event: Page Viewed, points: 4, decay: {half_life: 4d}}
    - {name: form, event: Form Submitted, points: 10, decay: {window: 6d}}
    - {name: leave, event: Left, points: -5, decay: {linear: 8d}}
  inactivity: {after: 6d, points: -2, every: 2d, floor: -6}
  robots:
    - {name: agent, where: "properties['agent'] = 'bot'"}
    - {name: burst, more_than: 3, per: day}
    - {name: staff, when: "traits['team'] = 'ours'"}
  floor: -4
  ceiling: 24
identity:
  grades: {A: 25, B: 20, C: 1}
  ceiling: 24
  rules:
    - {name: reachable, when: "has(identifiers, 'phone')", points: 20}
    - {name: city, when: "traits['city'] = 'Suzhou'", points: 5}
stages:
  outcomes: {won: customer, lost: recycled}
  rules:
    - {name: mql, when: "behaviour_score >= 10"}
    - name: sal
      when: "identity_grade = 'B' AND identity_score > 20 AND event_count > 3"
      applies_to: {first_seen_from: 2026-11-03}
    - {name: sql, when: "behaviour_score > 14 AND traits['city'] != ''"}
tags:
  - {name: region/east/suzhou, when: "traits['city'] = 'Suzhou'"}
  - {name: mood/cold, when: "behaviour_score < 1"}
  - {name: fit/b, when: "identity_grade = 'B'"}
  - {name: ready, when: "stage = 'sql' OR stage = 'customer'"}
"""
SEGMENTS = (
    "{name: hot, when: behaviour_score >= 8, tag: mood/hot}",
    "{name: cared_for, when: \"has(tags, 'manual/vip') OR has(tags, 'ready')\"}",
)
STAGES = ["recycled", "raw", "mql", "sal", "sql", "customer", "disqualified"]
OTHER_WORDS = [
    ("tag", "vip"),
    ("untag", "vip"),
    ("outcome", "won"),
    ("outcome", "lost"),
    ("outcome", "maybe"),
]
FIRST, LAST = date(2026, 11, 1), date(2026, 11, 24)


Way = list[tuple[str, date, str, float]]
"""Stages entered, with day, cause and score of the day."""


class Person:
    """What one person did and what was said, by day."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name = name
        self.days: dict[date, list[str]] = {}
        self.said: dict[date, list[tuple[str, str]]] = {}
        for _ in range(chance.randint(1, 9)):
            day = FIRST + timedelta(days=chance.randint(0, 20))
            kind = chance.choice(
                [
                    "Page Viewed",
                    "Form Submitted",
                    "Left",
                    "city=Suzhou",
                    "city=",
                    "phone",
                    "bot",
                    "team=ours",
                    "team=",
                ]
            )
            self.days.setdefault(day, []).extend([kind, *chance.choice([(), ("Page Viewed",) * 3])])
        for _ in range(chance.randint(0, 3)):
            day = FIRST + timedelta(days=chance.randint(0, 23))
            what = chance.choice([*(("status", s) for s in STAGES), *OTHER_WORDS])
            self.said.setdefault(day, []).append(what)

    def events(self) -> Iterator[dict[str, Any]]:
        for day, kinds in self.days.items():
            for number, kind in enumerate(kinds):
                event: dict[str, Any] = {
                    "messageId": f"{self.name}-{day}-{number}", "timestamp": f"{day}T02:{number:02}:00Z",
                    "type": "track", "event": kind, "userId": self.name,
                }  # fmt: skip
                if "=" in kind:
                    event |= {"type": "identify", "traits": {kind[:4]: kind[5:] or None}}
                elif kind == "bot":
                    event |= {"event": "Page Viewed", "properties": {"agent": "bot"}}
                elif kind == "phone":
                    number_of = int(self.name[1:])
                    event |= {"type": "identify", "traits": {"phone": f"1381{number_of:07}"}}
                yield event

    def stands(self, on: date, way: Way | None = None) -> tuple[str, set[str], set[str]]:
        """Stage, tags and segments on a day, every day looked at; `way` gets the stages passed through."""
        way = [] if way is None else way
        stage, vip, before = "raw", False, dict.fromkeys(("mql", "sal", "sql"), False)
        first, day = min(self.days), FIRST
        score, city, fit = 0.0, "", 0
        while day <= on:
            if day >= first:
                score, city = self.score(day, on), self.trait("city", day)
                if day == first:  # what was said before it holds from it on
                    way[:] = [("raw", day, "first", score), *((s, day, what, score) for s, _, what, _ in way)]
                fit = 20 * any("phone" in kinds for d, kinds in self.days.items() if d <= day)
                fit += 5 * (city == "Suzhou")
                count = sum(len(kinds) for d, kinds in self.days.items() if d <= day)
                now = {
                    "mql": score >= 10,
                    "sal": fit == 25 and count > 3 and first >= date(2026, 11, 3),
                    "sql": score > 14 and city != "",
                }
                for name, holds in now.items():
                    if holds and not before[name] and STAGES.index(name) > STAGES.index(stage):
                        stage = name
                before = now
                if stage != way[-1][0]:
                    way.append((stage, day, "condition", score))
            for what, value in self.said.get(day, ()):
                if what in ("tag", "untag"):
                    vip = what == "tag"
                    continue
                stage = {"won": "customer", "lost": "recycled", "maybe": stage}.get(value, value)
                if stage != (way[-1][0] if way else "raw"):
                    way.append((stage, day, what, score))
            day += timedelta(days=1)
        tags = {"manual/vip"} if vip else set()
        tags |= {"region/east/suzhou"} if city == "Suzhou" else set()
        tags |= {"mood/cold"} if score < 1 else set()
        tags |= {"fit/b"} if fit >= 20 else set()
        tags |= {"ready"} if stage in ("sql", "customer") else set()
        segments = {"cared_for"} if tags & {"manual/vip", "ready"} else set()
        if score >= 8:
            segments.add("hot")
            tags.add("mood/hot")
        return stage, tags, segments

    def trait(self, name: str, on: date) -> str:
        said = [(d, n, k) for d, kinds in self.days.items() if d <= on for n, k in enumerate(kinds)]
        return max(((d, n, k[5:]) for d, n, k in said if k.startswith(name)), default=(on, 0, ""))[2]

    def counted(self, known_on: date) -> dict[date, list[str]]:
        """What counts, by day: nothing of staff, as it is known, no day of too many events, nothing of a bot."""
        if self.trait("team", known_on) == "ours":
            return {}
        human = {
            day: [kind for kind in kinds if kind != "bot"]
            for day, kinds in self.days.items()
            if len(kinds) <= 3
        }
        return {day: kinds for day, kinds in human.items() if kinds}

    def score(self, on: date, known_on: date) -> float:
        total, fading = 0, 0.0
        counted = self.counted(known_on)
        for day, kinds in counted.items():
            age = (on - day).days
            if age >= 0:
                total += 10 * kinds.count("Form Submitted") * (age < 6)
                fading += 4 * kinds.count("Page Viewed") * 2 ** (-age / 4)
                fading -= 5 * kinds.count("Left") * max(8 - age, 0) / 8
        idle = (on - max((d for d in counted if d <= on), default=on)).days
        silence = 0 if idle < 6 else max(-2 * (1 + (idle - 6) // 2), -6)
        return min(max(total + fading + silence, -4), 24)

    def worth(self, on: date) -> tuple[float, float, str, str]:
        """Both scores, the grade, and the filter that takes everything."""
        fit = 20 * any("phone" in kinds for day, kinds in self.days.items() if day <= on)
        fit += 5 * (self.trait("city", on) == "Suzhou")
        staff = "staff" if self.trait("team", on) == "ours" else ""
        return self.score(on, on), min(fit, 24), "B" if fit >= 20 else "C" if fit else "", staff


def stored(store: Store, world: World) -> dict[str, tuple[str, set[str], set[str]]]:
    rows = store.query_rows(
        "SELECT profile_id, stage, tags, segments FROM kintsugi.profiles WHERE workspace = {w:String}",
        {"w": world.name},
    )
    return {row[0]: (row[1], set(row[2]), set(row[3])) for row in rows}


def worths(store: Store, world: World) -> dict[str, tuple[Any, ...]]:
    rows = store.query_rows(
        "SELECT profile_id, behaviour_score, identity_score, identity_grade, robot FROM kintsugi.profiles"
        " WHERE workspace = {w:String}",
        {"w": world.name},
    )
    return {row[0]: row[1:] for row in rows}


def assertions_of(world: World, people: list[Person]) -> list[AnyRecord]:
    return [
        world.said(world.identifier("user_id", person.name), what, value, str(day))  # type: ignore[arg-type]
        for person in people
        for day, words in sorted(person.said.items())
        for what, value in words
    ]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], World]:
    home: Path = tmp_path_factory.mktemp("home")
    return lambda name: World(home, name, identity=IDENTITY, scoring=SCORING, segments=SEGMENTS)


@pytest.mark.parametrize("seed", [1, 2])
def test_standing_is_what_a_look_at_every_day_gives(
    store: Store, make: Callable[[str], World], seed: int
) -> None:
    """Dates in force pass one by one, and only profiles that are due are computed; on each, everybody is right."""
    chance = random.Random(seed)
    world = make(f"daily-{seed}")
    people = [Person(f"u{n}", chance) for n in range(25)]
    said = assertions_of(world, people)
    events = world.events([event for person in people for event in person.events()], size=40)
    records: list[AnyRecord] = [world.opened("g1"), world.activated("g1"), *events, *said]
    chance.shuffle(records)
    job = LocalJob(store, world.home, slots=seed)
    job.run(lines(records))
    days = [0, 1, 2, 3, 5, 9, 16, 23] if seed == 1 else [12, 23]
    for day in (FIRST + timedelta(days=n) for n in days):
        job.run(lines([world.date(str(day))]))
        expected = {world.identifier("user_id", p.name): p.stands(day) for p in people if min(p.days) <= day}
        assert stored(store, world) == expected, day
        worth = {world.identifier("user_id", p.name): p.worth(day) for p in people if min(p.days) <= day}
        assert worths(store, world) == {
            who: (pytest.approx(of[0], abs=0.003), *of[1:]) for who, of in worth.items()
        }
        if day in (date(2026, 11, 6), LAST):
            assert digest(store, world.name) == digest(store, world.name, str(day))
    seen = {stage for stage, _, _ in stored(store, world).values()}
    assert len(seen) > 4, "people stand at many stages"
    scores = [score for score, *_ in worths(store, world).values()]
    assert min(scores) == -4 < 0 < max(scores)
    assert len({robot for *_, robot in worths(store, world).values()}) == 2


def test_a_merge_is_undone_exactly_with_stages_and_tags(store: Store, make: Callable[[str], World]) -> None:
    chance = random.Random(5)
    world = make("undone")
    people = [Person(f"u{n}", chance) for n in range(12)]
    events = world.events([event for person in people for event in person.events()])
    job = LocalJob(store, world.home)
    said = assertions_of(world, people)
    job.run(lines([world.opened("g1"), world.activated("g1"), world.date(str(LAST)), *events, *said]))
    before = stored(store, world), digest(store, world.name)
    ids = [world.identifier("user_id", person.name) for person in people]
    job.run(lines([world.override("force", ids[0], ids[1]), world.override("force", ids[2], ids[3])]))
    assert len(stored(store, world)) == len(before[0]) - 2
    assert digest(store, world.name) == digest(store, world.name, str(LAST))
    job.run(lines([world.override("none", ids[0], ids[1]), world.override("none", ids[2], ids[3])]))
    assert (stored(store, world), digest(store, world.name)) == before


def test_the_next_change_is_known(store: Store, make: Callable[[str], World]) -> None:
    """Two pages, eight points: the profile leaves the segment on the first day on which they weigh less."""
    world = make("next")
    event = {"type": "page", "userId": "u1", "timestamp": "2026-11-01T02:00:00Z", "properties": {}}
    events = world.events([{**event, "messageId": f"m{n}"} for n in range(3)])
    job = LocalJob(store, world.home)
    job.run(lines([world.opened("g1"), world.activated("g1"), world.date("2026-11-01"), *events]))
    row = store.query_rows(
        "SELECT segments, toInt32(next_change_on), stage FROM kintsugi.profiles WHERE workspace = {w:String}",
        {"w": world.name},
    )
    # 12 points stay above 10 for one day: 12 * 2^(-2/4) = 8.5, 12 * 2^(-3/4) = 7.1
    assert row == [(["hot"], days_of("2026-11-03"), "mql")]
    job.run(lines([world.date("2026-11-03")]))
    row = store.query_rows(
        "SELECT segments, toInt32(next_change_on), stage FROM kintsugi.profiles WHERE workspace = {w:String}",
        {"w": world.name},
    )
    assert row == [(["hot"], days_of("2026-11-04"), "mql")]


def examples() -> dict[str, Any]:
    """Worked examples of scoring/README.md that say where a profile stands."""
    text = (Path(__file__).parents[2] / "scoring" / "README.md").read_text()
    found = re.findall(r"^## (.+?)\n.*?^```yaml\n(.*?)^```", text, re.S | re.M)
    said = {title: yaml.safe_load(example) for title, example in found}
    return {
        title: example
        for title, example in said.items()
        if {"stage", "tags_on", "segments_on"} & set(example)
    }


@pytest.mark.parametrize("title", examples())
def test_a_worked_example(store: Store, tmp_path: Path, title: str) -> None:
    example = examples()[title]
    scoring = {k: example[k] for k in ("behaviour", "identity", "stages", "tags") if k in example}
    world = World(
        tmp_path, f"example-{title.split('.')[0]}", identity=IDENTITY, scoring=yaml.safe_dump(scoring),
        segments=[yaml.safe_dump(segment) for segment in example.get("segments", ())],
    )  # fmt: skip
    events = [
        {"type": "identify" if "traits" in told or "phone" in told else "track", "event": told["event"],
         "userId": "u", "messageId": f"{place}-{number}", "timestamp": f"{told['day']}T02:00:00Z",
         "traits": {**told.get("traits", {}), **({"phone": told["phone"]} if "phone" in told else {})}}
        | ({"type": "track", "context": {"traits": told["traits"]}} if "traits" in told else {})
        for place, told in enumerate(example["events"])
        for number in range(told.get("times", 1))
    ]  # fmt: skip
    u = world.identifier("user_id", "u")
    said = [
        world.said(u, what, value, str(told["day"]))
        for told in example.get("said", ())
        for what, value in told.items()
        if what != "day"
    ]
    job = LocalJob(store, world.home)
    job.run(lines([world.opened("g1"), world.activated("g1"), *world.events(events), *said]))
    parts = [example.get(name, {}) for name in ("stage", "tags_on", "segments_on")]
    for day in sorted({day for part in parts for day in part}):
        job.run(lines([world.date(str(day))]))
        (stands,) = stored(store, world).values()
        for part, is_so in zip(parts, stands, strict=True):
            if day in part:
                assert is_so == (part[day] if isinstance(part[day], str) else set(part[day])), day


def journal(store: Store, world: World) -> list[tuple[str, ...]]:
    return store.query_rows(
        "SELECT change, name, from_stage, cause, profile_id FROM kintsugi.profile_changes"
        " WHERE workspace = {w:String} ORDER BY changed_at, change, name, cause",
        {"w": world.name},
    )


def test_the_journal_says_what_changed_and_why(store: Store, tmp_path: Path) -> None:
    scoring = """
behaviour: {rules: [{name: form, event: Form, points: 10, decay: {window: 2d}}]}
stages: [{name: mql, when: behaviour_score >= 20}]
"""
    segments = ("{name: hot, when: behaviour_score >= 10}",)
    world = World(tmp_path, "journal", identity=IDENTITY, scoring=scoring, segments=segments)
    u, v = sorted(world.identifier("user_id", name) for name in ("u", "v"))
    events = [
        {"type": "track", "event": "Form", "userId": name, "messageId": name, "timestamp": f"{day}T02:00:00Z"}
        for name, day in (("u", "2026-11-02"), ("v", "2026-11-02"))
    ]
    job = LocalJob(store, world.home)

    def said(*records: AnyRecord) -> list[tuple[str, ...]]:
        known = len(journal(store, world))
        job.run(lines(records))
        return journal(store, world)[known:]

    assert said(world.opened("g1"), world.activated("g1"), world.date("2026-11-02")) == []
    assert {row[:4] for row in said(*world.events(events))} == {
        ("stage", "raw", "", "event"),
        ("enter", "hot", "", "event"),
    }
    merged = said(world.override("force", u, v))
    assert sorted(row[:4] for row in merged) == [
        ("exit", "hot", "", "merge"),
        ("stage", "mql", "raw", "merge"),
    ]
    assert [row[:4] for row in said(world.said(u, "status", "sal", "2026-11-02"))] == [
        ("stage", "sal", "mql", "assertion")
    ]
    split = said(world.override("none", u, v))
    assert {row[:4] for row in split} == {("stage", "raw", "", "split"), ("enter", "hot", "", "split")}
    assert {row[:4] for row in said(world.date("2026-11-04"))} == {("exit", "hot", "", "time")}
    other = world.rules(IDENTITY, scoring, ["{name: cold, when: behaviour_score < 5}"])
    assert {row[:4] for row in said(world.opened("g2", other), world.activated("g2"))} == {
        ("enter", "cold", "", "rule")
    }


def test_the_view_counts_people_by_tag(store: Store, make: Callable[[str], World]) -> None:
    chance = random.Random(9)
    world = make("views")
    people = [Person(f"u{n}", chance) for n in range(12)]
    events = world.events([event for person in people for event in person.events()])
    ids = [world.identifier("user_id", person.name) for person in people]
    said: list[AnyRecord] = [world.said(ids[n], "tag", "vip", "2026-11-20") for n in range(3)]
    job = LocalJob(store, world.home)
    job.run(lines([world.opened("g1"), world.activated("g1"), world.date(str(LAST)), *events, *said]))
    now = stored(store, world)
    rows = store.query_rows(
        "SELECT tag, profile_count, is_manual, given_count FROM kintsugi.tag_statistics WHERE workspace = {w:String}",
        {"w": world.name},
    )
    counts = {row[0]: row[1:] for row in rows}
    for tag in {tag for _, tags, _ in now.values() for tag in tags}:
        assert counts[tag][0] == sum(tag in tags for _, tags, _ in now.values())
    assert counts["manual/vip"] == counts["manual"] == (3, 1, 3)
    assert counts["region"][0] == counts["region/east/suzhou"][0]


def test_the_way_through_the_stages_and_what_came_of_it(store: Store, make: Callable[[str], World]) -> None:
    chance = random.Random(4)
    world = make("ways")
    people = [Person(f"u{n}", chance) for n in range(30)]
    ids = {world.identifier("user_id", person.name): person for person in people}
    events = world.events([event for person in people for event in person.events()])
    job = LocalJob(store, world.home)
    said = assertions_of(world, people)
    job.run(lines([world.opened("g1"), world.activated("g1"), world.date(str(LAST)), *events, *said]))
    ways: dict[str, Way] = {i: [] for i in ids}
    for i, person in ids.items():
        person.stands(LAST, ways[i])
    rows = store.query_rows(
        "SELECT profile_id, stage, entered_on, cause, behaviour_score, left_on FROM kintsugi.stage_history"
        " WHERE workspace = {w:String} ORDER BY profile_id, step", {"w": world.name}
    )  # fmt: skip
    for i, way in ways.items():
        found = [row[1:] for row in rows if row[0] == i]
        assert [row[:3] for row in found] == [step[:3] for step in way]
        assert [row[3] for row in found] == pytest.approx([step[3] for step in way], abs=0.01)
        assert [row[4] for row in found] == [*(step[1] for step in way[1:]), None]
    assert {row[3] for row in rows} == {"first", "condition", "status", "outcome"}
    bands = store.query_rows(
        "SELECT stage, score_from, profile_count, customers, lost FROM kintsugi.conversion_by_score"
        " WHERE workspace = {w:String} ORDER BY ALL", {"w": world.name}
    )  # fmt: skip
    scores = {tuple(row[:3]): row[4] for row in rows}
    assert bands == converted(ways, scores, {i: person.said for i, person in ids.items()})
    assert sum(row[3] for row in bands) > 3


def converted(
    ways: dict[str, Way],
    scores: dict[tuple[Any, ...], float],
    said: dict[str, dict[date, list[tuple[str, str]]]],
) -> list[tuple[Any, ...]]:
    """Rows of conversion_by_score by plain counting."""
    bands: dict[tuple[str, int], list[int]] = {}
    for i, way in ways.items():
        for stage in {step[0] for step in way}:
            day = next(step[1] for step in way if step[0] == stage)
            later = {step[0] for step in way if step[1] >= day}
            later |= {
                value
                for on, words in said[i].items()
                if on >= day
                for what, value in words
                if what == "outcome"
            }
            won, lost = bool(later & {"customer", "won"}), bool(later & {"disqualified", "lost"})
            band = bands.setdefault((stage, int(scores[i, stage, day] // 20) * 20), [0, 0, 0])
            for place, counts in enumerate((True, won, lost and not won)):
                band[place] += counts
    return sorted((*key, *counts) for key, counts in bands.items())
