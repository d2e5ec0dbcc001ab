"""The demo's screen says what its figures say, and its plan makes a repeated run send the same bytes."""

import io
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import orjson
import pytest
from rich.console import Console

from identity.quality import Agreement, CauseCount, Quality
from kintsugi import demo
from kintsugi.demo_data import Truth
from kintsugi.demo_data import vocabulary as words
from kintsugi.demo_data.truth import Identifier
from kintsugi.demo_figures import Again, Counts, Figures, Fragment, Joint, Known, Person, known
from kintsugi.demo_screen import screen
from kintsugi.endpoints import Endpoints, ProcessEntry
from kintsugi.settings import CHECKOUT, Settings
from schemas.workspace import parse_workspace
from store import keyring

PERSON = Person(
    profile_id="0123456789abcdef0123456789abcdef",
    fragments=[
        Fragment("wechat_openid", "****sf3u", 1, 4, date(2026, 10, 13)),
        Fragment("phone", "188****3999", 6, 11, date(2026, 10, 15)),
    ],
    joints=[
        Joint(date(2026, 10, 15), "Checked In", ("wechat_openid ****sf3u", "phone 188****3999"), 1),
    ],
    links=1,
    record={
        "traits": {"title": "生产总监", "city": "Hangzhou"},
        "first_channel": "offline/shop",
        "last_channel": "",
        "owner": "li.na",
        "first_seen_at": datetime(2026, 10, 13, 0, 5, tzinfo=UTC),
        "last_seen_at": datetime(2026, 11, 12, 18, 33, tzinfo=UTC),
        "event_count": 26,
        "behaviour_score": 92.5,
        "behaviour_points": {"visit": 2.5, "form": 90.0, "unfollow": 0.0},
        "identity_score": 20.0,
        "identity_points": {"phone": 20.0},
    },
    example=("phone", "188 1234 3999"),
)
FIGURES = Figures(
    sent=100_000,
    distinct=97_992,
    rejected=3,
    send_seconds=20.0,
    whole_seconds=40.0,
    memory_mib=1971,
    counts=Counts(events=97_989, identifiers=40_920, profiles=21_415, excluded=83, as_of="2026-11-22"),
    quality=Quality(
        40_825, 21_300, 15_740, Agreement(0.9872, 0.7109), Agreement(0.9954, 0.8131), 450, 13_000
    ),
    errors=[
        CauseCount(words.UNLINKED_ACCOUNT, 0, 900),
        CauseCount(words.HANDED_ON_PHONE, 345, 60),
        CauseCount(f"{words.HANDED_ON_PHONE} + {words.UNLINKED_ACCOUNT}", 5, 40),
    ],
    person=PERSON,
    digest="acf6" * 16,
    again=None,
)


def drawn(figures: Figures, width: int = 104) -> str:
    """The screen as a file would hold it."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(screen(figures))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def lines_of(figures: Figures) -> dict[str, str]:
    """Lines by their first word."""
    return {line.split()[0]: " ".join(line.split()) for line in drawn(figures).splitlines() if line.strip()}


def test_the_screen_is_plain_text_that_fits_the_width() -> None:
    for width in (80, 104):
        text = drawn(FIGURES, width)
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) <= width


def test_the_way_of_the_events_is_told_in_order() -> None:
    lines = lines_of(FIGURES)
    assert lines["97,989"] == "97,989 events → 40,920 identifiers → 21,415 profiles"
    assert "5,000 events/s" in lines["sent"]
    assert "2,008 copies fell together, 3 rejected" in lines["sent"]
    assert "2,500 events/s" in lines["in"]
    assert "1,971 MiB" in lines["in"]


def test_both_agreements_with_the_truth_are_shown() -> None:
    lines = lines_of(FIGURES)
    assert lines["pairwise"] == "pairwise 0.987 0.711"
    assert lines["B-cubed"] == "B-cubed 0.995 0.813"


def test_every_wrong_pair_is_in_one_row_of_causes() -> None:
    lines = lines_of(FIGURES)
    assert lines["unlinked"].startswith("unlinked account 0 900 ")
    assert lines["handed-on"].startswith("handed-on phone 345 60 ")
    assert lines["several"] == "several at once 5 40"


def test_the_share_of_missed_pairs_that_no_rule_could_join_counts_pure_causes_only() -> None:
    assert "90% of the missed pairs" in drawn(FIGURES)


def test_every_cause_of_the_generator_has_an_explanation() -> None:
    named = {value for name, value in vars(words).items() if name.isupper() and isinstance(value, str)}
    causes = named & {*words.NOBODYS, *words.SHARED_BY_TWO, words.SECOND_ACCOUNT, words.UNLINKED_ACCOUNT}
    assert len(causes) == 8
    for cause in causes:
        row = CauseCount(cause, 1, 1)
        assert (
            len(lines_of(replace(FIGURES, errors=[row]))[cause.split()[0]].split()) > len(cause.split()) + 2
        )


def test_a_person_is_shown_from_fragments_to_scores_with_points_by_rule() -> None:
    text, lines = drawn(FIGURES), lines_of(FIGURES)
    assert "One person: 2 fragments, one golden record" in text
    assert "written in 6 ways" in lines["2026-10-15"]
    assert lines["10-15"] == "10-15 Checked In wechat_openid ****sf3u ~ phone 188****3999 2 → 1"
    assert lines["behaviour"] == "behaviour 92.5 = form +90, visit +2.5"
    assert lines["fit"] == "fit 20.0 = phone +20"
    assert lines["traits"] == "traits city Hangzhou, title 生产总监"


@pytest.mark.parametrize(
    ("again", "told"),
    [
        (Again(0, True), "0 new profiles, same digest"),
        (Again(2, False), "2 new profiles, ANOTHER DIGEST"),
    ],
)
def test_a_repeated_run_says_what_it_changed(again: Again, told: str) -> None:
    assert told not in drawn(FIGURES)
    assert told in drawn(replace(FIGURES, again=again))


def plan(read_key: str = "kr_x") -> demo.Plan:
    return demo.Plan(7, 300, 10, date(2026, 9, 1), "kw_x", read_key)


def test_the_same_plan_makes_the_same_bytes() -> None:
    first, second = (
        b"".join(map(orjson.dumps, demo._told(plan(), Truth(), {})))
        for _ in range(2)
    )  # fmt: skip
    assert first == second
    assert first != b"".join(
        map(orjson.dumps, demo._told(msgspec.structs.replace(plan(), seed=8), Truth(), {}))
    )


def test_the_first_run_fixes_dates_and_keys_for_later_ones(tmp_path: Path) -> None:
    settings = replace(Settings.load({}), home=tmp_path)
    first = demo._plan(settings)
    assert first == demo._plan(settings)
    assert first.events >= 100_000
    assert not first.is_complete
    assert (settings.run / "demo.json").stat().st_mode & 0o077 == 0


def test_no_event_lies_on_the_day_of_the_first_run_or_later(tmp_path: Path) -> None:
    made = demo._plan(replace(Settings.load({}), home=tmp_path))
    assert (made.start_day - date.today()).days + made.days in (-1, 0, 1)  # by the clock of the workspace


def test_each_backend_of_the_log_has_its_own_home() -> None:
    assert demo._home_name("directory") == "demo"
    assert demo._home_name("kafka") == "demo-kafka"


def test_a_digest_is_compared_within_one_day_only() -> None:
    before = demo._Believed(FIGURES.counts, "a")
    assert demo._again(before, FIGURES.counts, "a") == Again(0, True)
    assert demo._again(before, replace(FIGURES.counts, profiles=21_416), "b") == Again(1, False)
    assert demo._again(before, replace(FIGURES.counts, as_of="2026-11-23"), "b") is None


def test_the_end_names_commands_for_this_home_or_says_that_nothing_runs() -> None:
    settings = replace(Settings.load({}), home=CHECKOUT / ".kintsugi" / "demo")
    said = Endpoints("ready", ProcessEntry(1, "", "running"), collector="http://c", api="http://a")
    kept = demo._what_next(settings, said, plan("kr_secret"), FIGURES, is_kept=True)
    assert "http://a/v1/profiles/lookup -H 'Authorization: Bearer kr_secret'" in kept
    assert '{"identifiers":[{"namespace":"phone","value":"188 1234 3999"}]}' in kept
    assert "export KINTSUGI_HOME=.kintsugi/demo\n" in kept
    assert kept.endswith(" down")
    stopped = demo._what_next(settings, said, plan(), FIGURES, is_kept=False)
    assert "stopped" in stopped
    assert "kr_" not in stopped


def test_the_truth_in_terms_of_the_store_folds_spellings_and_keeps_owners(tmp_path: Path) -> None:
    truth, spellings = Truth(), dict[Identifier, set[str]]()
    list(demo._told(msgspec.structs.replace(plan(), events=3000), truth, spellings))
    workspace = parse_workspace("demo", "")
    keyring.create(tmp_path, "demo", workspace.to_json())
    facts: Known = known(truth, workspace, keyring.load(tmp_path, "demo"))
    assert set(facts.names.values()) <= set(truth.identifiers())
    assert len(facts.names) > 0.99 * len(truth.identifiers())
    assert all(facts.people[i] == truth.identifiers()[key] for i, key in facts.names.items())
    assert max(len(spellings[key]) for key in facts.names.values() if key[0] == "phone") >= 3
