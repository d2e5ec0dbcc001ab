"""The score on every day against the ledger day by day, and stages against a fold that looks at every day."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.behaviour import counted_by_day
from scoring.bounds import Bounds
from scoring.caps import Cap
from scoring.crossings import ScoreDays
from scoring.events import NEVER, Hits, keys_of, of_keys
from scoring.ledger import Hit, explain
from scoring.profile_rules import StageRule, Stages
from scoring.ruleset import BehaviourRule, Decay, Group, Inactivity, ScoringRules
from scoring.stages import Status, stage_histories

FIRST, LAST = 20_000, 20_060
RULES = (
    BehaviourRule("stay", "E", "", 2_000, (Cap("points", 5_000, "day"),), Decay("none")),
    BehaviourRule("window", "E", "", 7_500, (), Decay("window", 9)),
    BehaviourRule("halve", "E", "", 4_001, (Cap("count", 3, "week"),), Decay("half_life", 3)),
    BehaviourRule("line", "E", "", 3_000, (), Decay("linear", 20)),
    BehaviourRule("against", "E", "", -6_000, (), Decay("half_life", 7)),
    BehaviourRule("lapse", "E", "", -1_000, (), Decay("linear", 5)),
    BehaviourRule(
        "once", "E", "", 3_500, (Cap("points", 9_000, "week"),), Decay("none"), once_per="k", group="g"
    ),
    BehaviourRule("more", "E", "", 2_500, (), Decay("half_life", 5), once_per="k", group="g"),
)
GROUPS = (Group("g", (Cap("count", 4, "week"), Cap("points", 12_000, "lifetime"))),)
hit_lists = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([r.name for r in RULES]), st.integers(FIRST, LAST)),
    max_size=12,
)
rule_sets = st.builds(
    ScoringRules,
    st.lists(st.sampled_from(RULES), min_size=1, unique=True).map(tuple),
    st.sampled_from([None, Inactivity(4, -1_000, 3, -2_500), Inactivity(10, -3_000, 0, -3_000)]),
    groups=st.sampled_from([(), GROUPS]),
    cap=st.sampled_from([(), (Cap("points", 9_000, "day"), Cap("count", 6, "week"))]),
    bounds=st.sampled_from(
        [Bounds(), Bounds(0), Bounds(ceiling=15_000), Bounds(-2_000, 9_500), Bounds(3_000)]
    ),
)


def score_days(hits: Sequence[tuple[int, str, int]], rules: ScoringRules, date: int) -> tuple[ScoreDays, Any]:
    """The score of two profiles by day, and by the ledger: [profile](day)."""
    points = {rule.name: rule.points for rule in RULES}
    rows = [
        (who, rule, f"{n:032x}", day, points[rule], f"{n % 3}") for n, (who, rule, day) in enumerate(hits)
    ]
    known = {rule.name for rule in rules.behaviour}
    counted = counted_by_day(Hits.of((row for row in rows if row[1] in known), rules), rules, date)
    active = sorted({(who, day) for who, _, day in hits if day <= date})
    keys = keys_of(np.array([w for w, _ in active], np.int64), np.array([d for _, d in active], np.int64))
    days = ScoreDays(counted, keys, rules, 2, date)

    def by_ledger(who: int, day: int) -> int:
        own = [Hit(*row[1:]) for row in rows if row[0] == who]
        return explain(own, {hit.day for hit in own}, rules, day).score

    return days, by_ledger


@settings(max_examples=60, deadline=None)
@given(hit_lists, rule_sets, st.lists(st.integers(-15_000, 25_000), min_size=1, max_size=3))
def test_a_crossing_is_a_day_on_which_a_daily_look_sees_one(
    hits: list[tuple[int, str, int]], rules: ScoringRules, thresholds: list[int]
) -> None:
    days, by_ledger = score_days(hits, rules, LAST)
    first, last = np.full(2, FIRST), np.full(2, LAST)
    every_day = np.arange(FIRST, LAST + 1)
    scores = [days.at(np.full(len(every_day), who), every_day).tolist() for who in (0, 1)]
    assert scores == [[by_ledger(who, int(day)) for day in every_day] for who in (0, 1)]
    seen = [[[(s > t) - (s < t) for t in thresholds] for s in of_one] for of_one in scores]
    expected = [
        (who, FIRST + n)
        for who in (0, 1)
        for n in range(1, len(every_day))
        if seen[who][n] != seen[who][n - 1]
    ]
    found = days.crossings(thresholds, first, last)
    assert list(zip(*(part.tolist() for part in of_keys(found)), strict=True)) == expected


def climbed(truth: list[tuple[bool, bool]], first: int) -> list[str]:
    """Stages entered by conditions alone, each day looked at by itself."""
    stages, before = ["raw"], (False, False)
    for today in truth:
        turned = [
            name
            for place, name in enumerate(("mql", "sql"))
            if today[place] and not before[place] and (name == "mql" or first >= 20_010)
        ]
        if turned and ["raw", "mql", "sql"].index(turned[-1]) > ["raw", "mql", "sql"].index(stages[-1]):
            stages.append(turned[-1])
        before = today
    return stages


STAGES = Stages(
    ("raw", "mql", "sql", "customer"),
    ("recycled",),
    ("disqualified",),
    (StageRule("mql", "x"), StageRule("sql", "y", 20_010)),
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=14),
    st.lists(st.tuples(st.integers(0, 13), st.sampled_from([*STAGES.rank, "unheard_of"])), max_size=4),
    st.integers(20_000, 20_020),
)
def test_a_stage_is_the_fold_over_every_day(
    truth: list[tuple[bool, bool]], said: list[tuple[int, str]], first: int
) -> None:
    """Every day: first the stages whose condition turns true, then what people said, each looked at by itself."""
    order = ["recycled", "raw", "mql", "sql", "customer", "disqualified"]
    stage, before = "raw", (False, False)
    for n, today in enumerate(truth):
        for place, name in enumerate(("mql", "sql")):
            applies = name == "mql" or first >= 20_010
            if applies and today[place] and not before[place] and order.index(name) > order.index(stage):
                stage = name
        stage = [stage, *(s for day, s in said if day == n and s in order)][-1]
        before = today
    changed = [n for n in range(len(truth)) if n == 0 or truth[n] != truth[n - 1]]
    holds = np.array([truth[n] for n in changed], np.uint8).reshape(-1, 2)
    day = np.array([first + n for n in changed])
    statuses = [
        Status(0, first + n, place, "", name) for place, (n, name) in enumerate(said) if n < len(truth)
    ]
    # a second person of whom people say nothing, and a third who was never seen
    quiet = [(truth[n][0], truth[n][1]) for n in changed]
    history = stage_histories(
        STAGES,
        np.array([first, first, NEVER]),
        np.repeat([0, 1], len(day)),
        np.tile(day, 2),
        np.concatenate([holds, np.array(quiet, np.uint8).reshape(-1, 2)]),
        reversed(statuses),
    )
    own = history.profile == 0
    assert STAGES.names[history.stage[own][-1]] == stage
    assert history.day[own].tolist() == sorted(history.day[own].tolist())
    alone = stage_histories(STAGES, np.array([first]), np.zeros(len(day), np.int64), day, holds, [])
    assert history.stage[history.profile == 1].tolist() == alone.stage.tolist()
    assert [STAGES.names[s] for s in alone.stage] == climbed(truth, first)
    assert 2 not in history.profile
