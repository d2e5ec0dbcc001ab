"""A rules file read with the place of everything in it, so that a refusal names line and column.

Invariant: nothing in the file is guessed: every key is known, none stands twice, numbers are decimal text.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Literal, NoReturn

import yaml

from schemas.condition_columns import Level
from schemas.errors import Problem
from scoring.conditions import event_condition, event_value, profile_condition, suggestion

MAX_CHARACTERS = 262_144
MAX_DEPTH = 20
MAX_DAYS = 3650


class Place:
    """A value of the file, with where it stands."""

    def __init__(self, node: yaml.Node) -> None:
        self._node = node

    @property
    def pointer(self) -> str:
        """`line:column`, from 1."""
        return _pointer(self._node.start_mark)

    def refuse(self, detail: str) -> NoReturn:
        """Raises Problem `bad_rules` at this place."""
        raise Problem("bad_rules", detail, self.pointer)

    @property
    def is_mapping(self) -> bool:
        return isinstance(self._node, yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        return isinstance(self._node, yaml.SequenceNode)

    def fields(self, known: Sequence[str], needed: Sequence[str] = ()) -> dict[str, "Place"]:
        """Values of a mapping by key; refuses unknown, repeated and absent keys."""
        found = self.entries(known)
        for name in needed:
            if name not in found:
                self.refuse(f"{name} is missing")
        return found

    def entries(self, known: Sequence[str] = ()) -> dict[str, "Place"]:
        """Values of a mapping by key, any key where none are known; refuses unknown and repeated ones."""
        if not isinstance(self._node, yaml.MappingNode):
            self.refuse(f"a mapping is needed here{', with ' * bool(known)}{', '.join(known)}")
        found: dict[str, Place] = {}
        for key_node, value_node in self._node.value:
            key = Place(key_node)
            name = key.text()
            if known and name not in known:
                key.refuse(f"there is no key {name}{suggestion(name, known)}")
            if name in found:
                key.refuse(f"{name} stands twice")
            found[name] = Place(value_node)
        return found

    def plain(self) -> Any:
        """The value as YAML reads it, days as text."""
        if self.is_mapping:
            return {key: value.plain() for key, value in self.entries().items()}
        if self.is_list:
            return [item.plain() for item in self.items()]
        if self._node.tag in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"):
            return self._node.value
        try:
            return yaml.SafeLoader("").construct_object(self._node)
        except (yaml.YAMLError, ValueError):
            self.refuse("a text, a number, true, false or null is needed here")

    def items(self) -> Iterator["Place"]:
        """Values of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.refuse("a list is needed here")
        yield from map(Place, self._node.value)

    def text(self) -> str:
        """A scalar as it is written."""
        if not isinstance(self._node, yaml.ScalarNode) or self._node.value == "":
            self.refuse("a text is needed here")
        return str(self._node.value)

    def choice(self, known: Sequence[str]) -> str:
        """One of a few words."""
        word = self.text()
        if word not in known:
            self.refuse(f"{word} is not one of {', '.join(known)}{suggestion(word, known)}")
        return word

    def thousandths(self, most: int) -> int:
        """A decimal number with at most three decimals, times 1000; at most `most` either way."""
        written = self.text()
        if len(written) > 40 or re.fullmatch(r"[+-]?\d+(\.\d{1,3})?", written, re.ASCII) is None:
            self.refuse(f"{written[:40]} is not a number with at most three decimals")
        value = int(Decimal(written) * 1000)
        if abs(value) > most:
            self.refuse(f"{written} is beyond {most // 1000}")
        return value

    def count(self, most: int) -> int:
        """A whole number from 1."""
        written = self.text()
        if re.fullmatch(r"\d{1,9}", written) is None or not 1 <= int(written) <= most:
            self.refuse(f"{written} is not a whole number from 1 to {most}")
        return int(written)

    def days(self, most: int = MAX_DAYS) -> int:
        """A duration in days: `30d`."""
        written = self.text()
        if re.fullmatch(r"\d{1,5}d", written) is None or not 1 <= int(written[:-1]) <= most:
            self.refuse(f"{written} is not a number of days from 1d to {most}d")
        return int(written[:-1])

    def day(self) -> int:
        """A date as 2026-12-01, in days since 1970-01-01."""
        written = self.text()
        try:
            return date.fromisoformat(written).toordinal() - date(1970, 1, 1).toordinal()
        except ValueError:
            self.refuse(f"{written} is not a date as 2026-12-01")

    def name(self) -> str:
        """The name of a rule."""
        name = self.text()
        if re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) is None:
            self.refuse(f"{name} is not a name: small letters, digits and _, at most 64")
        return name

    def condition(self, decides: Level | None = None) -> str:
        """Text of a condition that compiles: a `when` that decides something, else a `where` over an event."""
        text = self.text().strip()
        try:
            if decides:
                profile_condition(text, decides)
            else:
                event_condition(text)
        except Problem as problem:
            raise Problem("bad_rules", problem.detail, self.pointer) from problem
        return text

    def value(self, kind: Literal["number", "text"]) -> str:
        """Text of an expression over an event that compiles to a number or a text."""
        text = self.text().strip()
        try:
            event_value(text, kind)
        except Problem as problem:
            raise Problem("bad_rules", problem.detail, self.pointer) from problem
        return text


def _pointer(mark: Any) -> str:
    return f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"


def read(text: str) -> Place:
    """The document of a file. Raises Problem `bad_rules` when it is not plain YAML."""
    if len(text) > MAX_CHARACTERS:
        raise Problem("bad_rules", f"longer than {MAX_CHARACTERS} characters", "1:1")
    try:
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > MAX_DEPTH:
                raise Problem("bad_rules", "an alias or deep nesting", _pointer(event.start_mark))
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise Problem("bad_rules", f"not YAML: {error.problem}", _pointer(error.problem_mark)) from error
    except (yaml.YAMLError, ValueError) as error:
        raise Problem("bad_rules", "not YAML: unreadable characters", "1:1") from error
    if node is None:
        raise Problem("bad_rules", "the file is empty", "1:1")
    return Place(node)
