"""The pages of `docs/reference/`, made from what the code itself says: help texts, comments, definitions.

Invariant: nothing on these pages is written by hand, so nothing on them can be stale for longer than until the test
that compares them. `python -m kintsugi.reference` writes them anew.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from kintsugi.fresh_store import fresh_store
from kintsugi.settings import CHECKOUT, SETTINGS
from schemas.errors import ERRORS
from schemas.metrics import METRICS
from store.client import Store, StoreSettings

FOLDER = CHECKOUT / "docs" / "reference"
_MADE = "<!-- made by `python -m kintsugi.reference`; change the source it is made from -->\n"


class Entry:
    """One thing of a page and the sentence that explains it."""

    def __init__(self, name: str, meaning: str, **more: str) -> None:
        self.name = name
        self.meaning = " ".join(meaning.split())
        self.more = more


def table(entries: Iterable[Entry], head: tuple[str, ...]) -> str:
    """A Markdown table: name, the columns of `more`, meaning."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for entry in entries:
        cells = [f"`{entry.name}`", *entry.more.values(), entry.meaning]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def settings() -> Iterator[Entry]:
    """Environment variables."""
    for each in SETTINGS:
        choices = f" One of {', '.join(f'`{choice}`' for choice in each.choices)}." if each.choices else ""
        default = f"`{each.default}`" if each.default else ""
        yield Entry(each.name, each.meaning + choices, default=default)


def errors() -> Iterator[Entry]:
    """Error codes."""
    return (Entry(each.name, each.meaning, status=str(each.status)) for each in ERRORS.values())


def metrics() -> Iterator[Entry]:
    """Metrics of all processes."""
    for each in METRICS:
        labels = f" By {', '.join(f'`{label}`' for label in each.labels)}." if each.labels else ""
        yield Entry(each.name, f"{each.meaning}.{labels}", kind=each.kind, unit=each.unit)


class Command:
    """One command of the command line with its parameters."""

    def __init__(self, name: str, command: Any) -> None:
        self.name = name
        self.meaning = " ".join((command.help or "").split())
        self.parameters = [_parameter(each) for each in command.params if each.name != "help"]


def _parameter(each: Any) -> Entry:
    is_option = each.param_type_name == "option"
    name = ", ".join(each.opts) if is_option else (each.metavar or each.name.upper())
    needs = "needed" if each.required else ""
    default = "" if each.default in (None, False, "", ()) or callable(each.default) else f"`{each.default}`"
    return Entry(name, getattr(each, "help", None) or "", default=needs or default)


def commands() -> list[Command]:
    """Every command, groups unfolded, in the order of the code."""
    from kintsugi.cli import app

    def unfolded(name: str, command: Any) -> Iterator[Command]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield Command(name, command)
        else:
            for word, each in inner.items():
                yield from unfolded(f"{name} {word}", each)

    return list(unfolded("kintsugi", typer.main.get_command(app)))


class Operation:
    """One operation of an HTTP API; `schemas` holds what its body may refer to, by name."""

    def __init__(self, route: str, body: dict[str, Any], schemas: dict[str, Any]) -> None:
        self.route = route
        self.summary = str(body.get("summary", ""))
        self.meaning = str(body.get("description", "")).strip()
        self.statuses = sorted(body.get("responses", {}))
        self.parameters = [
            Entry(
                each["name"], each.get("description", ""), place=each["in"], needed=_needed(each["required"])
            )
            for each in body.get("parameters", ())
        ]
        content = body.get("requestBody", {}).get("content", {}).get("application/json", {})
        taken = schemas.get(content.get("schema", {}).get("$ref", "").rpartition("/")[2], {})
        self.parameters += [
            Entry(name, field.get("description", ""), place="body", needed=_needed(name in taken["required"]))
            for name, field in taken.get("properties", {}).items()
        ]


def _needed(is_needed: bool) -> str:
    return "needed" if is_needed else ""


def openapi() -> dict[str, Any]:
    """The query API's description of itself; needs neither a store nor keys."""
    from api.keys import AccessKeys
    from api.query import create_app

    nowhere = Path(os.devnull)
    app = create_app(Store(StoreSettings(url="http://127.0.0.1:9")), AccessKeys(nowhere), nowhere)
    described: dict[str, Any] = app.openapi()
    return described


def operations() -> list[Operation]:
    """Every operation of the query API."""
    told = openapi()
    return [
        Operation(f"{verb.upper()} {path}", body, told["components"]["schemas"])
        for path, verbs in told["paths"].items()
        for verb, body in verbs.items()
    ]


def _cli_page() -> str:
    parts = ["# Command line\n\nExit status: 0 done, 1 it went wrong (one line on standard error says what to do), "
             "2 not understood.\n"]  # fmt: skip
    for command in commands():
        parts.append(f"## `{command.name}`\n\n{command.meaning}\n")
        if command.parameters:
            parts.append(table(command.parameters, ("parameter", "default", "meaning")))
    return "\n".join(parts)


def _api_page() -> str:
    told = openapi()["info"]
    parts = [f"# Query API\n\n{told['description']}\n\nThe running API describes itself at `/docs` and `/openapi.json`."
             " The collector takes the paths of Segment's HTTP API: see [events](../contracts.md).\n"]  # fmt: skip
    for each in operations():
        parts.append(f"## `{each.route}`\n\n{each.summary}\n\n{each.meaning}\n")
        if each.parameters:
            parts.append(table(each.parameters, ("parameter", "in", "", "meaning")))
        parts.append(f"Answers with {', '.join(each.statuses)}.\n")
    return "\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": _cli_page,
    "api.md": _api_page,
    "settings.md": lambda: (
        "# Settings\n\nEnvironment variables, read once when a command or process starts. Rules of a workspace are "
        "no settings: they live in its folder.\n\n" + table(settings(), ("variable", "default", "meaning"))
    ),
    "errors.md": lambda: (
        "# Error codes\n\nAnswers are `application/problem+json` with a stable `code`. The status is that of a whole "
        "answer; a bad event in a readable batch is a reject with this code, and the answer is 200.\n\n"
        + table(errors(), ("code", "status", "meaning"))
    ),
    "metrics.md": lambda: (
        "# Metrics\n\nIn Prometheus' text format at `/metrics` of the collector and of the query API.\n\n"
        + table(metrics(), ("metric", "kind", "unit", "meaning"))
    ),
}
"""Pages that need no store, by file name."""


def page(name: str) -> str:
    """Text of one of `PAGES`, as it must stand in its file."""
    return _MADE + PAGES[name]().rstrip() + "\n"


class Relation:
    """A public view of the store with its columns."""

    def __init__(self, name: str, meaning: str) -> None:
        self.name = name
        self.meaning = meaning
        self.columns: list[Entry] = []


def relations(store: Store) -> list[Relation]:
    """Views of the database `kintsugi`, as the store describes them."""
    found = {
        name: Relation(name, comment)
        for name, comment in store.query_rows(
            "SELECT name, comment FROM system.tables WHERE database = 'kintsugi' ORDER BY name"
        )
    }
    columns = store.query_rows(
        "SELECT table, name, comment, type FROM system.columns WHERE database = 'kintsugi' ORDER BY table, position"
    )
    for view, name, comment, kind in columns:
        found[view].columns.append(Entry(name, comment, type=f"`{kind}`"))
    return list(found.values())


def sql_page(store: Store) -> str:
    """Text of sql.md: every view and column with its comment."""
    parts = [
        "# Tables for analysts\n\nThe views of the database `kintsugi`. They show the ruleset and date in force and "
        "follow them; nothing here is in the clear. Examples stand in [docs/sql](../sql). Tables of "
        "`kintsugi_store` carry comments too, and no promise of stability.\n"
    ]
    for each in relations(store):
        parts.append(f"## `kintsugi.{each.name}`\n\n{each.meaning}.\n")
        if each.columns:
            parts.append(table(each.columns, ("column", "type", "meaning")))
    return _MADE + "\n".join(parts).rstrip() + "\n"


def main() -> None:
    """Write every page."""
    for name in PAGES:
        (FOLDER / name).write_text(page(name), encoding="utf-8")
    with fresh_store() as store:
        (FOLDER / "sql.md").write_text(sql_page(store), encoding="utf-8")


if __name__ == "__main__":
    main()
