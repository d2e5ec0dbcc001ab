"""The condition language: what it refuses, and that the engine evaluates what it admits, on any row."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import Problem
from scoring.conditions import MAX_TOKENS, event_condition, profile_condition
from tests.unit.scoring.engine import Engine, event_row, profile_row

HERE = Path(__file__).parent


def corpus(name: str) -> list[str]:
    """Conditions of a file, one a line; a line that starts with # is a heading."""
    return [line for line in (HERE / name).read_text().splitlines() if not line.startswith("# ")]


TRUE = corpus("conditions_true.txt")
NOT_TRUE = corpus("conditions_not_true.txt")
REFUSED = [
    *corpus("conditions_refused.txt"),
    "",
    " ",
    "\0",
    "event = 'a\ud800'",
    "(" * 5000 + "1" + ")" * 5000,
    "[" * 3000,
    "(" * 30 + "event = 'a'" + ")" * 30,
    "NOT " * 500 + "event = 'a'",
    "- " * 400 + "1 = 1",
    "event IN (" + "'a'," * 2000 + "'a')",
    " AND ".join(["event = 'a'"] * 300),
    "event = '" + "a" * 5000 + "'",
    "properties" + "['a']" * 600 + " = 'a'",
]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:40]))
def test_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        event_condition(text)
    assert caught.value.code == "bad_condition"
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("propertees['a'] = 'b'", "properties"),
        ("Event = 'b'", "event"),
        ("starsWith(event, 'b')", "startsWith"),
        ("event > 5", "number"),
        ("properties = 'a'", "properties['name']"),
    ],
)
def test_a_refusal_says_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(Problem, match=hint.replace("[", r"\[")):
        event_condition(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("event = 'a' AND (", "something is missing behind ( at character 17"),
        ("(event = 'a'", ") is missing behind 'a' at character 12"),
        ("event = 'a' 1 1", "1 at character 13 is not understood here"),
        ("event = 'a", "is a quote not closed?"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_own_words(text: str, said: str) -> None:
    with pytest.raises(Problem) as caught:
        event_condition(text)
    assert said in caught.value.detail


def test_a_condition_refers_only_to_what_is_worked_out_before_it() -> None:
    text = "behaviour_score >= 60 AND stage = 'mql'"
    assert profile_condition(text, "tags").sql
    for decides in ("scores", "stage"):
        with pytest.raises(Problem, match="later"):
            profile_condition(text, decides)


def test_scores_are_compared_with_constants_in_thousandths() -> None:
    assert "(behaviour_score >= 59500)" in profile_condition("behaviour_score >= 59.5", "stage").sql
    assert "(-500 < identity_score)" in profile_condition("-0.5 < identity_score", "stage").sql
    for text in (
        "behaviour_score > identity_score",
        "behaviour_score > event_count",
        "behaviour_score + 1 > 2",
        "behaviour_score > 0.0005",
        "behaviour_score IN (1, 2)",
        "behaviour_score = 'a'",
    ):
        with pytest.raises(Problem):
            profile_condition(text, "stage")


ROW = {
    "plan": "pro",
    "n": 12,
    "f": 1.5,
    "text": "12.5",
    "bad": "12abc",
    "yes": True,
    "none": None,
    "empty": "",
    "deep": {"er": {"est": "x"}},
    "list": [1, "a"],
    "it's": "O'Neil\\",
    "中文": "金继",
    "blank": "  a ",
    "percent": "50%",
}


def test_admitted_conditions_mean_what_they_say(engine: Engine) -> None:
    context = {"campaign": {"source": "sem"}, "page": {"url": "https://a"}}
    engine.insert("events", [event_row("e1", "2026-03-01", "Page Viewed", properties=ROW, context=context)])
    columns = ", ".join(f"{event_condition(text).sql} AS c{i}" for i, text in enumerate([*TRUE, *NOT_TRUE]))
    (row,) = engine.rows(f"SELECT {columns} FROM kintsugi_store.events")
    got = {text: row[f"c{i}"] for i, text in enumerate([*TRUE, *NOT_TRUE])}
    assert got == dict.fromkeys(TRUE, 1) | dict.fromkeys(NOT_TRUE, 0)


def test_conditions_over_profiles(engine: Engine) -> None:
    engine.insert(
        "profiles",
        [
            profile_row(
                traits={"city": "上海", "size": "250"},
                identifiers=["phone"],
                stage="mql",
                event_count=7,
                behaviour_score=59500,
                tags=["vip"],
                last_channel="sem",
            )
        ],
    )
    texts = [
        "traits['city'] = '上海' AND traits['none'] = ''",
        "number(traits['size']) > 200",
        "event_count + 1 = 8",
        "has(identifiers, 'phone') AND NOT has(identifiers, 'email')",
        "length(identifiers) = 1",
        "behaviour_score >= 59.5 AND behaviour_score < 59.501",
        "behaviour_score BETWEEN 0 AND 60",
        "stage = 'mql' AND has(tags, 'vip')",
        "last_channel IN ('sem', 'seo')",
    ]
    columns = ", ".join(profile_condition(text, "segments").sql for text in texts)
    (row,) = engine.rows(f"SELECT [{columns}] AS results FROM kintsugi_store.profiles")
    assert row["results"] == [1] * len(texts)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abn"), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(st.dictionaries(st.sampled_from(["a", "n", "plan"]), JSON, max_size=3), min_size=1, max_size=20)
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_events_hold_conditions_evaluate(
    session_engine: Engine, bodies: list[dict[str, Any]]
) -> None:
    texts = [text.replace("'plan'", "'a'") for text in [*TRUE, *NOT_TRUE]]
    results = ", ".join(f"toUInt8({event_condition(text).sql})" for text in texts)
    rows = json.dumps([json.dumps(body, ensure_ascii=False) for body in bodies])
    bodies_sql = f"arrayJoin(JSONExtract({sql_text(rows)}, 'Array(String)'))"
    source = f"SELECT {bodies_sql} AS properties, properties AS context"
    found = session_engine.rows(
        f"SELECT [{results}] AS r FROM ({source}, 'e' AS event, 't' AS type, 's' AS source)"
    )
    assert len(found) == len(bodies)
    assert {value for row in found for value in row["r"]} <= {0, 1}


def sql_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_stays_one_constant(session_engine: Engine, value: str) -> None:
    written = value.replace("\\", "\\\\").replace("'", "\\'")
    sql = event_condition(f"event = '{written}'").sql
    (row,) = session_engine.rows(f"SELECT {sql} AS same FROM (SELECT {sql_text(value)} AS event)")
    assert row["same"] == 1


@given(
    st.text(max_size=80)
    | st.lists(
        st.sampled_from(
            [
                "event",
                "properties['a']",
                "'a'",
                "1",
                "(",
                ")",
                "AND",
                "OR",
                "NOT",
                "=",
                "LIKE",
                "IN",
                ",",
                "-",
                "number",
                "[",
            ]
        ),
        max_size=20,
    ).map(" ".join)
)
@settings(max_examples=300, deadline=None)
def test_nonsense_is_refused_by_name_or_compiles(text: str) -> None:
    try:
        sql = event_condition(text).sql
    except Problem as problem:
        sql = f"ifNull({problem.code}"
    assert sql.startswith("ifNull(")


def test_a_long_list_is_fine() -> None:
    names = ", ".join(f"'{i}'" for i in range(MAX_TOKENS // 2 - 5))
    assert event_condition(f"event IN ({names})").sql
