"""`kintsugi rules test`: the story of a workspace, told to the files as they are now.

Invariant: everything happens in a store and a home that are thrown away; nothing of the user's data is read.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from kintsugi import rules, workspaces
from kintsugi.fresh_store import fresh_store
from kintsugi.settings import Settings
from kintsugi.story import FILE, Expectation, Story
from pipelines.local_job import LocalJob
from schemas.log_record import AnyRecord, Generation, encode
from schemas.workspace import Workspace, parse_workspace
from store import keyring
from store.client import Store


def run(settings: Settings, folder: Path, say: Callable[[str], None]) -> bool:
    """Tell the story of a folder of rules, a line for every expectation; whether all of them are met.

    Raises Problem `bad_rules` with file, line and column of a mistake in any file.
    """
    with tempfile.TemporaryDirectory() as home:
        apart = replace(settings, home=Path(home), config=folder.absolute().parent)
        name = folder.absolute().name
        new_keys(apart, name)
        story_of(apart, name)  # a mistake in the file is told before a store is started
        with fresh_store() as store:
            expectations = []
            for expectation in told(apart, name, store):
                expectations.append(expectation)
                say(f"{'ok  ' if expectation.is_met else 'FAIL'}  {expectation}")
    met = sum(expectation.is_met for expectation in expectations)
    say(f"{name}: {met} of {len(expectations)} expectations met")
    return met == len(expectations)


def new_keys(settings: Settings, name: str) -> None:
    """Keys for a workspace, as `workspace create` makes them."""
    text = workspaces.read_file(settings, name, "workspace.yaml")
    keyring.create(settings.home, name, parse_workspace(name, text).to_json())


def story_of(settings: Settings, name: str, shift: int = 0) -> Story:
    """The story of a workspace that has keys. Raises Problem `bad_rules` with file, line and column."""
    keys = workspaces.require(settings, name)
    workspace = Workspace.from_json(name, keys.workspace)
    stages = rules.scoring_of(settings, name).stages
    return rules.parsed(settings, name, FILE, lambda text: Story(text, workspace, keys, stages, shift))


def told(settings: Settings, name: str, store: Store) -> Iterator[Expectation]:
    """The story told to the job's steps on this store, day by day; what came of each expectation."""
    story, compiled = story_of(settings, name), rules.check(settings, name)
    job = LocalJob(store, settings.home)

    def append(*records: AnyRecord) -> None:
        job.run([encode(record) for record in records])

    word: dict[str, Any] = {"workspace": name, "at": 1, "generation": compiled.generation}
    append(
        Generation(**word, id="open", action="open", ruleset=compiled.ruleset),
        Generation(**word, id="put", action="activate"),
    )
    for day in story.days:
        append(*story.records(day), story.dated(day))
        yield from story.expectations(store, day)
