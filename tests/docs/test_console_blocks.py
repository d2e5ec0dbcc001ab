"""What the documents show on a console is what readers see: every block is run, in order, on a real stack."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from kintsugi.settings import CHECKOUT
from tests.docs import runner
from tests.stacks import Stack

_MOST_NOT_RUN = 5
_ALL = [
    CHECKOUT / "README.md",
    CHECKOUT / "docs" / "tutorial.md",
    *sorted((CHECKOUT / "docs").glob("**/*.md")),
]
DOCUMENTS = {path: runner.read(path.read_text(encoding="utf-8")) for path in dict.fromkeys(_ALL)}
RUN = [path for path, document in DOCUMENTS.items() if document.steps]


@pytest.fixture(scope="module")
def desk(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout to a reader: his workspaces and the presets, our documents."""
    folder = tmp_path_factory.mktemp("desk")
    for story in (CHECKOUT / "workspaces").glob("*/story.yaml"):
        shutil.copytree(story.parent, stack.config / story.parent.name)
    (folder / "workspaces").symlink_to(stack.config)
    for name in ("docs", "notebooks"):
        (folder / name).symlink_to(CHECKOUT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", RUN, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_a_reader_sees_what_the_document_shows(stack: Stack, desk: Path, path: Path) -> None:
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    settings = {"PATH": tools, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "100", "PYTHONWARNINGS": "ignore"}
    shell = runner.Shell(desk, stack.env | settings)
    try:
        assert runner.mistakes(DOCUMENTS[path], shell) == []
    finally:
        shell.close()


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    reasons = [reason for document in DOCUMENTS.values() for reason in document.not_run]
    assert len(reasons) <= _MOST_NOT_RUN
    assert all(len(reason.split()) >= 4 for reason in reasons)


def test_readme_and_tutorial_are_run_and_no_block_escapes_by_its_language() -> None:
    assert {CHECKOUT / "README.md", CHECKOUT / "docs" / "tutorial.md"} <= set(RUN)
    fences = {
        fence for path in DOCUMENTS for fence in re.findall(r"^```(\w+)$", path.read_text(), re.MULTILINE)
    }
    assert not fences & {"sh", "bash", "shell"}


def test_a_document_that_lies_is_caught(tmp_path: Path) -> None:
    shell = runner.Shell(tmp_path, os.environ)
    try:
        for lie in ("$ echo one\ntwo", "$ false", "$ true\n(exit status 1)", "$ printf 'a\\nb'\na"):
            assert runner.mistakes(runner.read(f"```console\n{lie}\n```\n"), shell), lie
        for truth in (
            "$ X=5",
            "$ echo $X\n5",
            "$ echo a b c\na … c",
            "$ echo \\\n> 7\n7",
            "$ false\n(exit status 1)",
        ):
            assert runner.mistakes(runner.read(f"```console\n{truth}\n```\n"), shell) == [], truth
    finally:
        shell.close()
