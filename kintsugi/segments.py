"""What a segment would hold before it is applied: count, sample, overlap with segments in force.

Invariant: the condition is judged by the store over the golden records in force, as the job will judge it; nothing
is written.
"""

from dataclasses import dataclass

from kintsugi import rules, workspaces
from kintsugi.settings import Settings
from schemas.errors import Problem
from scoring.profile_rules import Segment
from scoring.sql_text import array
from store.client import Store

SAMPLE = 10

_ROWS = """
SELECT p.profile_id AS profile_id, p.traits AS traits, mapKeys(p.trait_events) AS trait_names,
    mapKeys(p.identifiers) AS identifiers,
    arrayDistinct(arrayMap(m -> splitByChar('@', m)[-1], p.identifiers['email'])) AS email_domains,
    p.event_count AS event_count, p.first_channel AS first_channel,
    p.last_channel AS last_channel, p.owner AS owner,
    p.behaviour_score AS behaviour_score, p.identity_score AS identity_score,
    CAST(p.identity_grade, 'String') AS identity_grade, CAST(p.stage, 'String') AS stage,
    arrayFilter(t -> NOT has({given}, t), p.tags) AS tags, p.segments AS segments
FROM kintsugi_store.current_profiles AS p WHERE p.workspace = {{w:String}}"""


@dataclass(frozen=True)
class SegmentPreview:
    """What the segment of the file would hold now."""

    name: str
    count: int
    profiles: int
    """Profiles of the workspace."""
    sample: list[str]
    """profile_ids, the first by id."""
    overlap: list[tuple[str, int, int]]
    """(segment in force, members that it shares, its members), the most shared first."""


def preview(settings: Settings, store: Store, workspace: str, name: str) -> SegmentPreview:
    """Judge the segment of `segments/*.yaml` with this name. Raises Problem `unknown_segment`, `bad_rules`."""
    workspaces.require(settings, workspace)
    scoring = rules.scoring_of(settings, workspace)
    found = [segment for segment in scoring.segments if segment.name == name]
    if not found:
        known = ", ".join(segment.name for segment in scoring.segments)
        raise Problem("unknown_segment", f"No file of segments/ names {name} (there are: {known or 'none'}).")
    by_rule = {rule.name for rule in scoring.tags}
    given = sorted({segment.tag for segment in scoring.segments if segment.tag} - by_rule)
    return judge(store, workspace, found[0], given)


def judge(store: Store, workspace: str, segment: Segment, given_tags: list[str]) -> SegmentPreview:
    """The preview of a segment; `given_tags` are those that segments give, which no condition sees."""
    rows = _ROWS.format(given=array(given_tags) if given_tags else "emptyArrayString()")
    judged = f"SELECT *, toUInt8({segment.condition().sql}) AS holds FROM ({rows})"
    asked = {"w": workspace}
    ((count, profiles, sample),) = store.query_rows(
        f"SELECT countIf(holds), count(), arraySlice(arraySort(groupArrayIf(profile_id, holds)), 1, {SAMPLE})"
        f" FROM ({judged})", asked
    )  # fmt: skip
    overlap = store.query_rows(
        "SELECT segment, countIf(holds) AS shared, count() AS members"
        f" FROM (SELECT holds, arrayJoin(segments) AS segment FROM ({judged}))"
        " GROUP BY segment HAVING shared > 0 ORDER BY shared DESC, segment",
        asked,
    )
    return SegmentPreview(segment.name, count, profiles, list(sample), [(s, n, m) for s, n, m in overlap])
