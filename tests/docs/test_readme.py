"""The documents name only what exists: links, paths, commands with their options, make targets, settings."""

import ast
import re
import shlex
from itertools import dropwhile, takewhile
from typing import Any

import pytest
import typer

from identity.quality import UNEXPLAINED
from kintsugi import demo_screen
from kintsugi.cli import app
from kintsugi.settings import CHECKOUT, SETTINGS

DOCUMENTS = [
    str(path.relative_to(CHECKOUT))
    for path in (
        CHECKOUT / "README.md",
        CHECKOUT / "scoring" / "README.md",
        *sorted((CHECKOUT / "docs").glob("**/*.md")),
    )
    if path.parent.name != "reference"
]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FOLDERS = ("schemas", "identity", "scoring", "store", "pipelines", "api", "kintsugi", "tests", "docs")


def text_of(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """Code blocks of a language."""
    return [body for found, body in _FENCE.findall(text_of(name)) if found == language]


def spans(name: str) -> list[str]:
    """Code in the running text."""
    return _SPAN.findall(_FENCE.sub("", text_of(name)))


def statements(name: str) -> list[list[str]]:
    """Words of every command of the console blocks, run or not, up to a pipe; of `NAME=$(command)` the command's."""
    lines = [line for block in blocks(name, "console") for line in block.splitlines()]
    whole = "\n".join(line for line in lines if line.startswith(("$ ", "> ")))
    texts = [
        text.replace("\\\n> ", "").replace("\n> ", "\n") for text in re.split(r"^\$ ", whole, flags=re.M)[1:]
    ]
    found = [shlex.split(re.sub(r"^\w+=\$\((.*)\)$", r"\1", text.strip()), comments=True) for text in texts]
    found = [list(dropwhile(re.compile(r"\w+=").match, words)) for words in found]
    return [list(takewhile(lambda word: word != "|", words)) for words in found if words]


def commands(name: str) -> list[list[str]]:
    """Words of every call of `kintsugi` in a document, without the program."""
    calls = statements(name) + [shlex.split(span) for span in spans(name) if span.startswith("kintsugi ")]
    return [words[1:] for words in calls if words[0].rpartition("/")[2] == "kintsugi"]


def missing_in(command: Any, words: list[str]) -> str:
    """What the command line (of click, as typer brings it) lacks of these words; empty when it has all."""
    commands_of_group = getattr(command, "commands", None)
    if commands_of_group is not None:
        if not words or words[0] not in commands_of_group:
            return f"no command {' '.join(words[:1])!r}"
        return missing_in(commands_of_group[words[0]], words[1:])
    options = {o for parameter in command.params for o in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in words if word.startswith("-") and word != "-" and word not in options]
    return f"{command.name} has no option {unknown[0]}" if unknown else ""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_inside_the_repository_leads_somewhere(name: str) -> None:
    links = [link for link in _LINK.findall(text_of(name)) if "://" not in link]
    assert all((CHECKOUT / name).parent.joinpath(link.partition("#")[0]).exists() for link in links), links


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_path_in_the_text_exists(name: str) -> None:
    paths = [span for span in spans(name) if span.partition("/")[0] in _FOLDERS and "/" in span]
    assert [path for path in paths if not (CHECKOUT / path).exists()] == []


def test_the_check_of_paths_sees_them() -> None:
    assert sum(span.partition("/")[0] in _FOLDERS for name in DOCUMENTS for span in spans(name)) > 20


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_and_option_exists(name: str) -> None:
    root = typer.main.get_command(app)
    assert [missing for words in commands(name) if (missing := missing_in(root, words))] == []


def test_the_readme_shows_the_commands_that_a_newcomer_needs() -> None:
    called = {words[0] for words in commands("README.md") if words}
    assert {"up", "down", "demo", "doctor", "workspace", "rules", "sql", "lookup", "ingest", "wait"} <= called


def test_the_check_of_commands_finds_what_does_not_exist() -> None:
    root = typer.main.get_command(app)
    assert missing_in(root, ["upp"])
    assert missing_in(root, ["rules", "chekc"])
    assert missing_in(root, ["digest", "--wrkspace", "x"])
    assert not missing_in(root, ["digest", "--workspace", "x"])


def test_every_make_target_exists_and_has_a_comment() -> None:
    makefile = text_of("Makefile")
    calls = [*map(" ".join, statements("README.md")), *spans("README.md")]
    targets = {found[1] for call in calls if (found := re.search(r"\bmake (\w+)", call))}
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^# .+\n{target}:", makefile, re.MULTILINE), target


def test_every_setting_is_one_that_is_read() -> None:
    named = {name for document in DOCUMENTS for name in re.findall(r"KINTSUGI_[A-Z_]+", text_of(document))}
    assert named <= {setting.name for setting in SETTINGS}


def test_the_python_code_of_the_readme_is_python() -> None:
    code = blocks("README.md", "python")
    assert code
    for block in code:
        ast.parse(block)


def test_what_the_demo_shows_in_the_readme_is_what_it_can_show() -> None:
    (shown,) = blocks("README.md", "text")
    assert max(map(len, shown.splitlines())) <= 108
    for cause, meaning in demo_screen.MEANINGS.items():
        if f"  {cause} " in shown:
            assert meaning in shown
    assert f"  {UNEXPLAINED} " in shown


def test_the_picture_is_a_picture_without_anything_from_elsewhere() -> None:
    picture = text_of("docs/architecture.svg")
    assert "<title" in picture
    assert set(re.findall(r'"(https?://[^"]+)"', picture)) == {"http://www.w3.org/2000/svg"}
    assert (CHECKOUT / "docs" / "architecture.svg").stat().st_size < 20_000
