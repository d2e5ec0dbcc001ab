"""Checks of the data: quiet over good data, loud over each fault that is injected upstream of it."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kintsugi import quality
from kintsugi.demo_data import journeys
from kintsugi.quality import Result
from kintsugi.quality_report import page, text
from pipelines.local_job import LocalJob
from schemas.log_record import AnyRecord
from store.client import Store
from tests.quality.faults import FAULTS, Event, Fault
from tests.worlds import World, lines

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
DEMO = Path(__file__).parents[2] / "workspaces" / "demo"
SOUND = Fault("nothing is wrong", "", "")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def events_of(seed: int, count: int) -> list[Event]:
    return [event for batch in journeys(seed, count, date(2026, 11, 1), 20) for event in batch.events]


def filled(store: Store, home: Path, name: str, fault: Fault, seed: int = 5, count: int = 300) -> str:
    """A workspace after events with this fault have taken the way of all events."""
    texts = [(DEMO / file).read_text() for file in ("workspace.yaml", "identity.yaml", "scoring.yaml")]
    world = World(home, name, *texts)
    control: list[AnyRecord] = [
        world.opened("g1"),
        world.activated("g1"),
        *(world.date(day) for day in fault.dates),
    ]
    records = world.events(fault.events(events_of(seed, count)), 150, received_at=fault.received_at)
    carried = records[: len(records) // 2] if fault.stall else records
    job = LocalJob(store, home, seed=seed)
    job.run(lines([*control, *carried]))
    for line in lines(records[len(carried) :]):
        for message in job.normalize.line(line.decode()):
            list(job.lands["0"].flush([message.body[1]]))
    if fault.damage:
        store.execute(f"DELETE FROM kintsugi_store.{fault.damage} AND workspace = '{name}'")
    return name


def asked(store: Store, *names: str, only: str = "") -> list[Result]:
    access = {"url": store.settings.url, "user": store.settings.user, "token": store.settings.token}
    return quality.run(access, names, NOW, only)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quality")


@pytest.fixture(scope="module")
def sound(store: Store, home: Path) -> list[Result]:
    """Results over three seeds."""
    return asked(store, *(filled(store, home, f"sound{seed}", SOUND, seed) for seed in (5, 6, 7)))


def test_every_suite_has_three_faults_or_more() -> None:
    suites = ("events", "identities", "links", "profiles", "score_facts")
    assert all(sum(fault.suite == suite for fault in FAULTS) >= 3 for suite in suites)


def test_sound_data_of_three_seeds_meets_every_expectation(sound: list[Result]) -> None:
    assert len({result.workspace for result in sound}) == 3
    assert [(r.workspace, r.expectation, r.observed, r.error) for r in sound if not r.is_met] == []
    assert all(result.observed is not None for result in sound)


def test_expectations_have_names_of_their_own_and_sentences(sound: list[Result]) -> None:
    one = [result for result in sound if result.workspace == "sound5"]
    assert len({(result.suite, result.expectation) for result in one}) == len(one) > 50
    assert all(result.says.endswith(".") and len(result.says.split()) >= 3 for result in one)
    known = {(result.suite, result.expectation) for result in one}
    assert {(fault.suite, fault.expectation) for fault in FAULTS} <= known


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_fault_upstream_is_noticed(store: Store, home: Path, fault: Fault) -> None:
    name = filled(store, home, f"fault{FAULTS.index(fault)}", fault)
    found = {result.expectation: result for result in asked(store, name, only=fault.suite)}
    assert not found[fault.expectation].is_met, found[fault.expectation]
    assert found[fault.expectation].error == ""


def test_what_could_not_be_asked_is_broken_and_says_why(store: Store) -> None:
    found = {result.expectation: result for result in asked(store, "nobody", only="events")}
    assert not found["event_count"].is_met
    unknown = found["hours_since_last"]
    assert (unknown.is_met, unknown.observed) == (False, None)
    assert "nothing to look at" in unknown.error


def test_results_are_rows_and_keeping_them_twice_changes_nothing(store: Store, sound: list[Result]) -> None:
    quality.keep(store, sound)
    quality.keep(store, sound)
    rows = store.query_rows(
        "SELECT suite, expectation, is_met, observed, expected, ran_at FROM kintsugi.quality_results "
        "WHERE workspace = 'sound6'"
    )
    mine = [result for result in sound if result.workspace == "sound6"]
    assert sorted(rows) == sorted(
        (r.suite, r.expectation, int(r.is_met), r.observed, r.expected, NOW) for r in mine
    )


class _Page(HTMLParser):
    """Tags and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_shows(sound: list[Result]) -> None:
    broken = Result("acme", NOW, "events", "odd", "1 < 2 & <b>", False, "0 rows", None, "<script>")
    written = page([*sound, broken])
    found = _Page(written)
    assert "script" not in found.tags
    assert "b" not in found.tags
    assert found.addresses == []
    assert "url(" not in written
    assert "1 of 1 expectations are broken" in written
    assert found.tags.count("table") == 16


def test_people_read_what_is_broken_first() -> None:
    ok = Result("acme", NOW, "events", "fine", "All is well.", True, "at most 3", 2.0, "")
    bad = Result("acme", NOW, "events", "bad", "Nothing is lost.", False, "0 rows", 1234.0, "")
    told = text([ok, bad]).splitlines()
    assert told[0] == "acme: 2 expectations, 1 broken"
    assert told[2].split() == ["BROKEN", "bad", "1,234", "rows", "(0", "rows)"]
    assert told[3].strip() == "Nothing is lost."
    assert told[4].split() == ["ok", "fine", "2", "(at", "most", "3)"]


def test_no_service_loads_great_expectations() -> None:
    parts = "kintsugi.serve_collect, kintsugi.serve_query, kintsugi.supervisor, kintsugi.cli, pipelines.job"
    code = (
        f"import sys, {parts}; import json; print(json.dumps([m for m in sys.modules if 'great_exp' in m]))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == []
