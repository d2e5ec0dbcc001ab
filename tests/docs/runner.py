"""Runs the `console` blocks of a document in order, as a reader would, and compares what they show.

A line that begins with `$ ` is a command (`> ` continues it); what follows is what it shows, where `…` stands for
anything, also for nothing and for whole lines. Exit status 0 is expected, or the N of a last line `(exit status N)`.
A block that is not run has a comment right above it: `<!-- not run: why -->`.
"""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]*?) -->\n)?^```console\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL
)
_STATUS = re.compile(r"\(exit status (\d+)\)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MARK = "--- the command is done:"


@dataclass(frozen=True)
class Step:
    """One command of a document and what it shows."""

    line: int
    command: str
    shows: str
    status: int = 0


@dataclass(frozen=True)
class Document:
    """The steps that are run, and why others are not."""

    steps: tuple[Step, ...]
    not_run: tuple[str, ...]


def read(text: str) -> Document:
    """Console blocks of a Markdown text. ValueError for a block that begins with no command."""
    steps: list[Step] = []
    not_run: list[str] = []
    for block in _BLOCK.finditer(text):
        if block["why"] is not None:
            not_run.append(block["why"])
            continue
        steps += _steps(block["body"], text.count("\n", 0, block.start("body")) + 1)
    return Document(tuple(steps), tuple(not_run))


def _steps(body: str, first: int) -> list[Step]:
    found: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(body.splitlines(), first):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif not found:
            raise ValueError(f"line {number}: a console block begins with a command: $ ...")
        elif line.startswith("> ") and not found[-1][2]:
            found[-1][1].append(line[2:])
        else:
            found[-1][2].append(line)
    return [_step(number, "\n".join(command), shows) for number, command, shows in found]


def _step(line: int, command: str, shows: list[str]) -> Step:
    status = _STATUS.fullmatch(shows[-1]) if shows else None
    if status is None:
        return Step(line, command, "\n".join(shows))
    return Step(line, command, "\n".join(shows[:-1]), int(status[1]))


def is_shown(expected: str, output: str) -> bool:
    """Whether the output is what the document shows.

    >>> is_shown("a … c", "a b c "), is_shown("a", "b"), is_shown("a\\n…", "a\\nb\\nc"), is_shown("…", "")
    (True, False, True, True)
    """
    pattern = ".*".join(re.escape(part) for part in _trimmed(expected).split("…"))
    return re.fullmatch(pattern, _trimmed(_COLOUR.sub("", output)), re.DOTALL) is not None


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


class Shell:
    """One bash for a document, so that what a command sets is there for the next."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=folder, env=dict(env), text=True,
        )  # fmt: skip

    def run(self, command: str) -> tuple[str, int]:
        """Output, errors among it, and exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n%s %s\\n' '{_MARK}' $?\n")
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line.startswith(_MARK):
                return "".join(lines), int(line.split()[-1])
            lines.append(line)
        raise RuntimeError(f"the shell ended at: {command}")

    def close(self) -> None:
        """End it; commands that still run are killed."""
        self._process.kill()
        self._process.communicate()


def mistakes(document: Document, shell: Shell) -> list[str]:
    """What a reader would see differently, up to the first step that fails: later ones may rest on it."""
    for step in document.steps:
        output, status = shell.run(step.command)
        if status != step.status or not is_shown(step.shows, output):
            return [
                f"line {step.line}: {step.command}\nexit status {status}, shown:\n{output.strip()}\n"
                f"the document says (exit status {step.status}):\n{step.shows}"
            ]
    return []
