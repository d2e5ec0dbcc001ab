"""The reference is complete and up to date, and each of its sentences says more than the name it explains."""

import re

import pytest

from kintsugi import reference
from kintsugi.reference import FOLDER, Entry
from store.client import Store

_WORD = re.compile(r"[a-z]{2,}")
_EMPTY = {"the", "an", "of", "or", "in", "is", "for", "name", "and", "to", "kintsugi"}


def says_more(entry: Entry) -> bool:
    """Whether the sentence holds a word that the name does not."""
    words = set(_WORD.findall(entry.meaning.lower())) - _EMPTY
    return bool({word for word in words if word.rstrip("s") not in entry.name.lower()})


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_says_what_the_code_says(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == reference.page(name), "stale: run python -m kintsugi.reference"


def test_the_page_of_sql_says_what_the_store_says(store: Store) -> None:
    written = (FOLDER / "sql.md").read_text(encoding="utf-8")
    assert written == reference.sql_page(store), "stale: run python -m kintsugi.reference"


def test_every_sentence_says_more_than_its_name() -> None:
    entries = [*reference.settings(), *reference.errors(), *reference.metrics()]
    assert len(entries) > 60
    assert [entry.name for entry in entries if not says_more(entry)] == []


def test_every_view_and_column_is_explained(store: Store) -> None:
    relations = reference.relations(store)
    assert len(relations) > 12
    found = {(r.name, c.name) for r in relations for c in r.columns if not says_more(c)}
    assert found == set()
    assert [r.name for r in relations if not says_more(Entry(r.name, r.meaning))] == []


def test_every_command_and_parameter_is_explained() -> None:
    commands = reference.commands()
    assert len(commands) > 20
    assert [c.name for c in commands if not says_more(Entry(c.name, c.meaning))] == []
    unexplained = [f"{c.name} {p.name}" for c in commands for p in c.parameters if not p.meaning]
    assert unexplained == []


def test_every_operation_is_explained() -> None:
    operations = reference.operations()
    assert len(operations) > 10
    assert [each.route for each in operations if len(each.meaning.split()) < 4 or not each.summary] == []
    unexplained = [f"{o.route} {p.name}" for o in operations for p in o.parameters if not p.meaning]
    assert unexplained == []


def test_every_operation_behind_a_key_says_how_it_refuses() -> None:
    guarded = [each for each in reference.operations() if each.route.partition(" ")[2].startswith("/v1/")]
    assert len(guarded) > 10
    assert [each.route for each in guarded if not {"401", "403", "422", "503"} <= set(each.statuses)] == []
