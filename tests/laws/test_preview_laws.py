"""Laws of rules over history: what a preview shows is what apply gives, and rollback returns, while events arrive."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kintsugi import rules
from kintsugi.controls import tell_again
from kintsugi.digest import digest, digest_of
from kintsugi.preview import Preview, step
from kintsugi.preview_text import text
from kintsugi.settings import Settings
from pipelines.local_job import LocalJob
from schemas.errors import Problem
from schemas.log_record import AnyRecord, Generation
from store.client import Store
from tests.laws.test_pipeline_laws import messy_events
from tests.local_log import LocalLog
from tests.stores import running_store
from tests.worlds import IDENTITY, SCORING, WORKSPACE, World, lines

DATE = "2026-11-20"
EVENTS = 300
OTHER_IDENTITY = """
namespaces:
  - {name: phone}
  - {name: user_id}
  - {name: email, max_per_profile: 1}
  - {name: anonymous_id, shared_above: {phone: 1}}
"""
OTHER_SCORING = """
behaviour:
  rules: [{name: pages, event: Page Viewed, points: 3, decay: {half_life: 7d}}]
  robots:
    - {name: burst, more_than: 5, per: day}
    - {name: pad, where: "context['userAgent'] LIKE '%iPad%'"}
  floor: 1.5
  ceiling: 12
"""


def planted(number: int, **ids: Any) -> dict[str, Any]:
    return {"type": "identify", "messageId": f"planted-{number}", "timestamp": f"{DATE}T01:00:00Z", **ids}


PLANTED = [
    # two accounts on one browser: one person where accounts have no limit
    planted(1, userId="anna", anonymousId="browser"),
    planted(2, userId="bert", anonymousId="browser"),
    # one account with two mailboxes: two people where one mailbox is the limit
    planted(3, userId="carl", traits={"email": "carl@firm.cn"}),
    planted(4, userId="carl", traits={"email": "carl@home.cn"}),
    planted(5, anonymousId="phone", traits={"email": "carl@firm.cn"}),
    planted(6, anonymousId="tablet", traits={"email": "carl@home.cn"}),
]


class Desk:
    """A workspace with its files, a local job, and events that go on arriving with every command."""

    def __init__(self, home: Path, store: Store, name: str) -> None:
        self.store = store
        self.name = name
        self.settings = Settings.load({"KINTSUGI_HOME": str(home), "KINTSUGI_CONFIG": str(home / "config")})
        self.world = World(home, name)
        self.write(IDENTITY, SCORING)
        (self.folder / "workspace.yaml").write_text(WORKSPACE)
        self.arriving: Iterator[AnyRecord] = iter(self.world.events([*PLANTED, *messy_events(7, EVENTS)]))
        self.log = LocalLog(LocalJob(store, home), self.meanwhile)
        self.job = rules.Job(store, self.log, timeout=20)
        self.log.append([self.world.date(DATE)])

    @property
    def folder(self) -> Path:
        folder = self.settings.config / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(self, identity: str, scoring: str) -> None:
        (self.folder / "identity.yaml").write_text(identity)
        (self.folder / "scoring.yaml").write_text(scoring)

    def meanwhile(self) -> Sequence[AnyRecord]:
        return [record for _, record in zip(range(2), self.arriving, strict=False)]

    def drain(self) -> None:
        """Everything that has not arrived yet arrives."""
        self.log.append(list(self.arriving))

    def stored(self, generation: str) -> dict[str, list[str]]:
        """What readers would see of a generation, without versions and the moment of computing."""
        ask = {"w": self.name, "g": generation}
        return {
            table: sorted(map(repr, self.store.query_rows(
                f"SELECT * EXCEPT (version) FROM kintsugi_store.{table} FINAL"
                " WHERE workspace = {w:String} AND generation = {g:String}"
                + (" AND is_tombstone = 0" if table == "profile_rows" else ""),
                ask,
            )))
            for table in ("identity_map", "clusters", "profile_rows", "excluded_identifiers", "refused_links")
        }  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, store: Store, request: pytest.FixtureRequest) -> Desk:
    return Desk(tmp_path, store, f"preview-{abs(hash(request.node.name)) % 10**9}")


def test_a_preview_is_what_apply_gives_and_rollback_returns(desk: Desk) -> None:
    first, is_new = rules.apply(desk.settings, desk.job, desk.name)
    assert is_new
    desk.write(OTHER_IDENTITY, OTHER_SCORING)
    rules.preview(desk.settings, desk.job, desk.name)
    assert rules.open_generations(desk.store, desk.name) == {first}, "a preview leaves nothing behind"
    assert rules.in_force(desk.store, desk.name) == first
    desk.drain()

    shown = rules.preview(desk.settings, desk.job, desk.name, keep=True)
    assert shown.digest.profiles > 60
    assert_is_the_difference(shown, desk)
    rows = desk.stored(shown.after)
    rules.preview(desk.settings, desk.job, desk.name)
    second, _ = rules.apply(desk.settings, desk.job, desk.name)
    assert second == shown.after
    assert desk.stored(second) == rows, "what is applied is what was shown, row for row"
    assert digest(desk.store, desk.name) == shown.digest == digest(desk.store, desk.name, DATE)

    assert rules.rollback(desk.job, desk.name) == first
    assert digest(desk.store, desk.name) == digest(desk.store, desk.name, DATE)
    assert digest(desk.store, desk.name) != shown.digest
    assert rules.open_generations(desk.store, desk.name) == {first, second}
    assert rules.rollback(desk.job, desk.name) == second
    assert digest(desk.store, desk.name) == shown.digest


def test_whoever_waits_for_a_generation_is_told_how_far_it_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "_PATIENCE_S", 0.0)
    desk.drain()
    told: list[tuple[int, int]] = []
    job = rules.Job(desk.store, desk.log, timeout=20, derived=lambda *share: told.append(share))
    rules.apply(desk.settings, job, desk.name)
    desk.write(OTHER_IDENTITY, SCORING)
    for _ in "once", "again":
        told.clear()
        after = rules.preview(desk.settings, job, desk.name).after
        assert told, "the local job has done all when it is first looked at"
        profiles = digest_of(desk.store, desk.name, after).profiles
        assert told[0] == (profiles, profiles + len(desk.stored(after)["excluded_identifiers"]))


def test_a_closed_generation_comes_back_with_all_evidence(desk: Desk) -> None:
    first, _ = rules.apply(desk.settings, desk.job, desk.name)
    desk.write(OTHER_IDENTITY, SCORING)
    second, _ = rules.apply(desk.settings, desk.job, desk.name)
    desk.write(IDENTITY, OTHER_SCORING)
    third, _ = rules.apply(desk.settings, desk.job, desk.name)
    assert rules.open_generations(desk.store, desk.name) == {second, third}, "older ones are closed"
    desk.drain()
    desk.write(IDENTITY, SCORING)
    assert rules.apply(desk.settings, desk.job, desk.name) == (first, True)
    assert digest(desk.store, desk.name) == digest(desk.store, desk.name, DATE)
    assert [told.action for told in rules.history(desk.store, desk.name) if told.generation == first] == [
        "open", "activate", "close", "open", "activate",
    ]  # fmt: skip


def test_a_replay_in_any_order_opens_what_is_open(desk: Desk, tmp_path: Path) -> None:
    """All opens, then all closes, then the events: the newest word on a generation decides, not the last to come."""
    rules.apply(desk.settings, desk.job, desk.name)
    desk.write(OTHER_IDENTITY, SCORING)
    rules.preview(desk.settings, desk.job, desk.name)
    rules.apply(desk.settings, desk.job, desk.name)
    desk.drain()
    believed = digest(desk.store, desk.name)
    with running_store(tmp_path / "replayed") as store:
        LocalJob(store, desk.world.home, slots=2, seed=3).run(lines(sorted(desk.log.records, key=lateness)))
        assert digest(store, desk.name) == believed


def test_a_job_without_state_comes_to_the_same_by_what_is_told_again(tmp_path: Path) -> None:
    with running_store(tmp_path / "store") as store:
        desk = Desk(tmp_path, store, "rebuilt")
        rules.apply(desk.settings, desk.job, desk.name)
        desk.drain()
        believed = digest(store, desk.name)
        job = LocalJob(store, tmp_path, check=True)
        log = LocalLog(job)
        tell_again(store, log)
        assert digest(store, desk.name) == believed == digest(store, desk.name, DATE)
        log.append(desk.world.events([planted(9, userId="dora", anonymousId="browser")]))
        assert digest(store, desk.name) == digest(store, desk.name, DATE) != believed


def test_what_cannot_be_previewed_or_rolled_back_says_so(desk: Desk) -> None:
    with pytest.raises(Problem, match="Nothing is in force"):
        rules.preview(desk.settings, desk.job, desk.name)
    rules.apply(desk.settings, desk.job, desk.name)
    with pytest.raises(Problem, match="are what is in force"):
        rules.preview(desk.settings, desk.job, desk.name)
    with pytest.raises(Problem, match="no other rules"):
        rules.rollback(desk.job, desk.name)


def lateness(record: AnyRecord) -> int:
    return (1 if record.action == "close" else 0) if isinstance(record, Generation) else 2


def assert_is_the_difference(shown: Preview, desk: Desk) -> None:
    """Counts, scores and bars against plain Python over the stored rows."""
    held: list[dict[str, set[str]]] = []
    for generation in (shown.before, shown.after):
        rows = desk.store.query_rows(
            "SELECT profile_id, members FROM kintsugi_store.profile_rows FINAL WHERE workspace = {w:String}"
            " AND generation = {g:String} AND is_tombstone = 0", {"w": desk.name, "g": generation}
        )  # fmt: skip
        held.append({profile: set(members) for profile, members in rows})
    owner = [{i: p for p, members in side.items() for i in members} for side in held]
    before = Counter(kind_of(members, owner[1], owner[0], held) for members in held[0].values())
    changes = {change.kind: change for change in shown.changes}
    assert sum(change.before for change in shown.changes) == len(held[0])
    assert sum(change.after for change in shown.changes) == len(held[1])
    for kind in ("unchanged", "resized", "merged", "split", "gone"):
        assert changes[kind].before == before[kind], kind
    assert changes["merged"].before > changes["merged"].after > 0
    assert changes["split"].after > changes["split"].before > 0
    assert changes["unchanged"].before == changes["unchanged"].after
    for effect in shown.effects:
        assert sum(band.before for band in effect.bands) == len(held[0])
        assert sum(band.after for band in effect.bands) == len(held[1])
    assert shown.effects[0].rises + shown.effects[0].falls > 0
    assert_are_the_greatest_changes(shown, desk, owner, held)


def assert_are_the_greatest_changes(
    shown: Preview, desk: Desk, owner: list[dict[str, str]], held: list[dict[str, set[str]]]
) -> None:
    """Examples of changed scores say what the store says, and no profile that stays the same changes more."""
    rows = [
        desk.store.query_rows(
            "SELECT profile_id, behaviour_score, toString(stage)"
            " FROM kintsugi_store.scored_profiles(derivation = {g:String}) WHERE workspace = {w:String}",
            {"w": desk.name, "g": generation},
        )
        for generation in (shown.before, shown.after)
    ]
    was, becomes = ({profile: (score / 1000, stage) for profile, score, stage in side} for side in rows)
    assert shown.moved
    for moved in shown.moved:
        one = min(held[1][moved.profile.profile_id] & owner[0].keys())
        old, new = was[owner[0][one]], becomes[moved.profile.profile_id]
        assert (moved.scores["behaviour"], moved.stage) == ((old[0], new[0]), (old[1], new[1]))
        assert moved.profile.count == len(held[1][moved.profile.profile_id])
        assert old != new or moved.scores["identity"][0] != moved.scores["identity"][1]
    same = {frozenset(members): profile for profile, members in held[0].items()}
    changes = [
        abs(becomes[profile][0] - was[same[frozenset(members)]][0])
        for profile, members in held[1].items()
        if frozenset(members) in same
    ]
    told = [abs(after - before) for before, after in (moved.scores["behaviour"] for moved in shown.moved)]
    assert max(told) >= max(changes)
    assert {example.kind for example in shown.examples} >= {"merged", "split"}
    secrets = {"".join(c for c in i if c.isdigit()) for e in messy_events(7, 200) for i in phones(e)}
    page = text(shown)
    assert not any(secret in page for secret in secrets if len(secret) > 6)
    assert f"digest after  {shown.digest}" in page
    assert shown.as_json()["digest"]["sha256"] == shown.digest.sha256
    assert digest_of(desk.store, desk.name, shown.before) == digest(desk.store, desk.name)


def kind_of(
    members: set[str], after: dict[str, str], before: dict[str, str], held: list[dict[str, set[str]]]
) -> str:
    """What becomes of a profile, for the kinds that one look decides."""
    targets = {after[i] for i in members if i in after}
    if not targets:
        return "gone"
    sources = {before[i] for t in targets for i in held[1][t] if i in before}
    if len(targets) == 1 and len(sources) == 1:
        return "unchanged" if held[1][next(iter(targets))] == members else "resized"
    if len(targets) == 1 and all(len({after[i] for i in held[0][s] if i in after}) == 1 for s in sources):
        return "merged"
    return "split" if len(sources) == 1 else "regrouped"


def phones(event: dict[str, Any]) -> list[str]:
    phone = event.get("traits", {}).get("phone")
    return [phone] if phone else []


def test_bands_have_round_widths() -> None:
    for span in (0, 1, 999, 5_000, 37_000, 118_000, 10**9):
        assert span < step(span) * 9 or span == 0
