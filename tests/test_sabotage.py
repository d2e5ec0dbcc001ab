"""Tests that can fail: the product is broken on purpose, in a copy, and the named test must go red.

Each sabotage is one replacement of text that occurs exactly once, so a change of the code that makes it meaningless is
noticed. That the same tests pass on the product as it is, the rest of the suite shows.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent


class Sabotage(NamedTuple):
    """What is done to which file, and who must notice."""

    name: str
    file: str
    old: str
    new: str
    noticed_by: str


STEPS = "tests/laws/test_step_laws.py::"
ORACLE = "tests/laws/test_identity_function.py::test_it_equals_the_oracle"
BULK = "tests/laws/test_identity_bulk.py"
SABOTAGES = [
    Sabotage(
        "deduplication off", "pipelines/normalize.py",
        "eid = self.event_id(body)",
        "eid = self.event_id(body + str(len(out['events'])).encode())",
        STEPS + "test_a_duplicate_event_counts_once",
    ),
    Sabotage(
        "fsync off", "pipelines/log/segment.py",
        "        os.fdatasync(fd)", "        pass",
        "tests/faults/test_log_directory.py::test_after_a_failed_fsync_the_file_is_never_synced_again",
    ),
    Sabotage(
        "told before durable", "pipelines/land.py",
        "        tables = unpack(bodies)\n", "        tables = unpack(bodies)\n        yield from self._tell(tables)\n",
        STEPS + "test_nothing_is_told_before_it_is_durable",
    ),
    Sabotage(
        "module-level cache", "pipelines/normalize.py",
        "self._sent: dict[str, int] = {}", "self._sent: dict[str, int] = vars(re).setdefault('_sent', {})",
        STEPS + "test_a_new_attempt_sends_links_anew",
    ),
    Sabotage(
        "no reconciliation after a restore", "pipelines/resolve.py",
        "        self._must_reconcile = True", "        self._must_reconcile = False",
        STEPS + "test_a_restore_repairs_what_a_dead_attempt_wrote",
    ),
    Sabotage(
        "a lookup shows an older version", "api/profiles.py",
        "sorted(rows, key=lambda row: row[1])", "sorted(rows, key=lambda row: -row[1])",
        "tests/contracts/test_query_api.py::test_any_spelling_of_any_identifier_finds_the_record",
    ),
    Sabotage(
        "caps ignored", "scoring/caps.py",
        "room = np.maximum(cap.most - before, 0)", "room = np.maximum(cap.most - 0 * before, 0)",
        STEPS + "test_caps_hold_over_all_identifiers_of_a_profile",
    ),
    Sabotage(
        "facts of another piece", "pipelines/cycle.py",
        'found = found.take(pa.array(np.argsort(share, kind="stable")))', "found = found",
        "tests/laws/test_pipeline_laws.py::test_rules_applied_to_history_equal_rules_from_the_start",
    ),
    Sabotage(
        "a bound taken for a score", "scoring/crossings.py",
        "number[near] = self._bounds.clamp(faded.sum(axis=0))", "pass",
        "tests/laws/test_scoring_days.py",
    ),
    Sabotage(
        "wall clock in a score", "pipelines/score.py",
        "self._workspace, generation, rules, self._date,",
        "self._workspace, generation, rules, self._now() // 86_400_000_000,",
        STEPS + "test_scores_are_those_of_the_date_in_force",
    ),
    Sabotage(
        "subject ignored", "scoring/facts.py",
        'return f"identifier_id = arrayFirst(i -> i NOT IN {excluded}, {usable})"', 'return "1"',
        STEPS + "test_an_event_counts_for_its_subject_alone",
    ),
    Sabotage(
        "trailer recorded at its first copy", "pipelines/resolve.py",
        "if len(copies) < int(count):", "if len(copies) < 1:",
        STEPS + "test_a_trailer_is_recorded_after_all_slots_sent_their_copy",
    ),
    Sabotage(
        "workspaces share their ids", "schemas/ids.py",
        "common = blake2b(_framed(kind.encode(), *fields), digest_size=16, key=pepper)",
        "common = blake2b(_framed(kind.encode(), *fields), digest_size=16)",
        STEPS + "test_equal_events_of_two_workspaces_share_no_id",
    ),
    Sabotage(
        "rank reversed", "identity/rules.py",
        "return (end.strength, -last if end.rule.keep == \"latest\" else first, a, b)",
        "return (-end.strength, -last if end.rule.keep == \"latest\" else first, a, b)",
        ORACLE,
    ),
    Sabotage(
        "sharing one too early", "identity/clusters.py",
        "if number > rules.facts(kinds[identifier]).rule.shared_above[namespace]:",
        "if number >= rules.facts(kinds[identifier]).rule.shared_above[namespace]:", ORACLE,
    ),
    Sabotage(
        "an expired link counts a day longer", "identity/clusters.py",
        "if expires is None or date < expires:", "if expires is None or date <= expires:", ORACLE,
    ),
    Sabotage(
        "evidence of later days counts", "identity/clusters.py",
        "if day <= date and a != b:", "if a != b:", ORACLE,
    ),
    Sabotage(
        "profiles named by the smallest id", "identity/clusters.py",
        "founding = {i: (first_seen[i], rules.facts(kinds[i]).strength, i) for i in units}",
        "founding = {i: (0, 0, i) for i in units}", ORACLE,
    ),
    Sabotage(
        "never-links ignored", "identity/clusters.py",
        "forest = _Forest(units, nevers, limits)", "forest = _Forest(units, [], limits)", ORACLE,
    ),
    Sabotage(
        "force-links after links", "identity/clusters.py",
        "    for a, b in forces:\n        forest.force(a, b)\n    for at, a, b in links:\n",
        "    links = [*links]\n    for at, a, b in links:\n        forest.link(a, b, at)\n    for a, b in forces:\n"
        "        forest.force(a, b)\n    for at, a, b in links:\n",
        ORACLE,
    ),
    Sabotage(
        "limits ignored", "identity/clusters.py",
        "if self._limits.broken(counts) is None:", "if counts is not None:", ORACLE,
    ),
    Sabotage(
        "blocked neighbours make an identifier shared", "identity/clusters.py",
        "if a in excluded or b in excluded:", "if a in excluded and b in excluded:", ORACLE,
    ),
    Sabotage(
        "a device keeps its first owner", "identity/rules.py",
        "-last if end.rule.keep == \"latest\" else first", "first", ORACLE,
    ),
    Sabotage(
        "the resolver lets no link expire", "identity/batch.py",
        "self._look_again(a, b, what)", "pass", "tests/laws/test_identity_order.py",
    ),
    Sabotage(
        "what hangs together is one person", "identity/bulk.py",
        "    if not len(nodes):\n", "    if True:\n", BULK,
    ),
    Sabotage(
        "what was built does not expire", "identity/incremental.py",
        "for day, pairs in bulk.due().items():", "for day, pairs in {}.items():", BULK,
    ),
    Sabotage(
        "what was built cannot be forgotten", "pipelines/state.py",
        "self._state.put(self._prefix + key, False)", "self._state.delete(self._prefix + key)",
        "tests/unit/pipelines/test_state.py",
    ),
    Sabotage(
        "an earlier life of a generation speaks on", "pipelines/resolve.py",
        "AND version < {{v:UInt64}} AND {says}", "AND version < {{v:UInt64}} AND 0",
        STEPS + "test_a_generation_opened_again_says_nothing_of_its_earlier_life",
    ),
    Sabotage(
        "history has no hits", "pipelines/resolve.py",
        "hits = beside.submit(fill, self._store", "hits = beside.submit(lambda *_: None, self._store",
        "tests/laws/test_pipeline_laws.py::test_rules_applied_to_history_equal_rules_from_the_start",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files of the checkout, in a folder of their own."""
    target = tmp_path_factory.mktemp("sabotaged")
    for folder in ("api", "identity", "kintsugi", "pipelines", "schemas", "scoring", "store", "tests"):
        shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", target)
    return target


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda s: s.name.replace(" ", "-"))
def test_the_named_test_notices(copy: Path, sabotage: Sabotage) -> None:
    path = copy / sabotage.file
    original = path.read_text()
    assert original.count(sabotage.old) == 1, "the sabotage does not fit the code any more"
    path.write_text(original.replace(sabotage.old, sabotage.new))
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", sabotage.noticed_by],
            cwd=copy, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
    finally:
        path.write_text(original)
    assert run.returncode == 1, run.stdout[-3000:] + run.stderr[-1000:]
    assert "FAILED" in run.stdout, run.stdout[-3000:]
    assert "fixture" not in run.stdout.rsplit("short test summary", 1)[-1], run.stdout[-3000:]
