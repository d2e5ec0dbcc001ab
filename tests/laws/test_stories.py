"""The stories of the presets: a marketer's words, run through the whole job."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.local_job import LocalJob
from schemas.log_record import AnyRecord
from store.client import Store
from tests.worlds import World, lines

WORKSPACES = Path(__file__).parents[2] / "workspaces"
STORIES = sorted(path.parent.name for path in WORKSPACES.glob("*/story.yaml"))


def world_of(home: Path, name: str) -> World:
    """The preset as a workspace."""
    folder = WORKSPACES / name
    texts = {file: (folder / f"{file}.yaml").read_text() for file in ("workspace", "identity", "scoring")}
    segments = [path.read_text() for path in sorted((folder / "segments").glob("*.yaml"))]
    return World(home, f"story-{name}", **texts, segments=segments)


def event_of(people: dict[str, dict[str, str]], told: dict[str, Any], number: str) -> dict[str, Any]:
    """What someone does, as an event."""
    ids = [{"type": n, "id": value} for who in told["who"] for n, value in people[who].items()]
    kind = {"type": "track", "event": told["does"], "properties": told.get("with", {})}
    context = {"externalIds": ids, **({"traits": told["is"]} if "is" in told else {})}
    return {**kind, "context": context, "messageId": number, "timestamp": f"{told['day']}T02:00:00Z"}


@pytest.mark.parametrize("name", STORIES)
def test_a_story_comes_out_as_told(store: Store, tmp_path: Path, name: str) -> None:
    """Everything is told in the order of days; after each day everyone stands where the story says."""
    world = world_of(tmp_path, name)
    document = yaml.safe_load((WORKSPACES / name / "story.yaml").read_text())
    people, story = document["people"], document["story"]
    job = LocalJob(store, world.home)
    job.run(lines([world.opened("g1"), world.activated("g1")]))

    def identifier(who: str) -> str:
        ((namespace, value),) = people[who].items()
        return world.identifier(namespace, value)

    for day in sorted({told["day"] for told in story}):
        today = [(n, told) for n, told in enumerate(story) if told["day"] == day]
        events = [
            event_of(people, told, f"{n}-{copy}")
            for n, told in today
            if "does" in told
            for copy in range(told.get("times", 1))
        ]
        said: list[AnyRecord] = [
            world.said(identifier(told["who"][0]), what, told[what], str(day))
            for _, told in today
            for what in ("status", "tag", "untag", "outcome")
            if what in told
        ]
        job.run(lines([*world.events(events), *said, world.date(str(day))]))
        for _, told in today:
            for who in told["who"] if "stands" in told else ():
                assert stands(store, world, identifier(who), told["stands"]) == told["stands"], (day, who)


def stands(store: Store, world: World, identifier: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """What the golden record of an identifier says, of what is wanted."""
    (row,) = store.query_arrow(
        "SELECT * FROM kintsugi.profiles AS p INNER JOIN kintsugi.profile_identifiers AS i"
        " ON p.workspace = i.workspace AND p.profile_id = i.profile_id"
        " WHERE p.workspace = {w:String} AND i.identifier_id = {i:String}",
        {"w": world.name, "i": identifier},
    ).to_pylist()
    return {key: row[key] for key in wanted}


def test_there_are_stories() -> None:
    assert "jingsocial" in STORIES
