"""Stories: what people do when, and where the rules shall have them stand then, in a marketer's words.

A workspace may hold `story.yaml`: `people`, each with identifiers, and `story`, a list of lines with `day`, `who` and
one of `VERBS`. Invariant: what a story holds is evidence like any other, and is judged by the job's own steps.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast, get_args
from zoneinfo import ZoneInfo

from identity.normalize import normalize
from schemas.errors import Problem
from schemas.events import admit
from schemas.ids import identifier_id
from schemas.log_record import AnyRecord, Assertion, Date, Events, Item, What
from schemas.workspace import Workspace
from scoring.conditions import suggestion
from scoring.profile_rules import Stages, said_value
from scoring.rules_file import Place, read
from store.client import Store
from store.keyring import KeyGeneration

FILE = "story.yaml"
SAID: tuple[str, ...] = get_args(What)
VERBS = ("does", *SAID, "stands", "are")
"""`does`: an event happens. SAID: people or the CRM say so. `stands`: columns of the view `profiles` that are expected.
`are`: `one` person or `apart`.
"""
COLUMNS = (
    "stage", "behaviour_score", "identity_score", "identity_grade", "tags", "segments", "traits", "identifiers",
    "first_channel", "last_channel", "owner", "event_count",
)  # fmt: skip
"""Columns of the view `profiles` of which a story may expect something."""
_WITH_EVENT = ("times", "with", "is", "campaign")
_MOST_TIMES = 1000
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier of somebody in a story."""

    namespace: str
    scope: str
    value: str
    identifier_id: str


@dataclass(frozen=True, slots=True)
class Told:
    """One line of a story."""

    pointer: str
    day: int
    who: tuple[str, ...]
    verb: str
    value: Any
    """Name of the event, what is said, columns that are expected, or `one` and `apart`."""
    times: int = 1
    details: Mapping[str, Any] = field(default_factory=dict)
    """With an event: `with` (properties), `is` (traits), `campaign`."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a story expects, and what came of it."""

    pointer: str
    day: date
    """As the story says it."""
    who: str
    what: str
    wanted: Any
    found: Any

    @property
    def is_met(self) -> bool:
        """Numbers are compared to the thousandth, in which points are counted."""
        if isinstance(self.wanted, int | float) and isinstance(self.found, int | float):
            return round(self.wanted * 1000) == round(self.found * 1000)
        return bool(self.wanted == self.found)

    def __str__(self) -> str:
        told = f"{self.day}  {self.who:<16} {self.what}"
        if self.is_met:
            return f"{told}: {_shown(self.wanted)}"
        return f"{told}: expected {_shown(self.wanted)}, got {_shown(self.found)}  ({FILE}:{self.pointer})"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


class Story:
    """The story of a workspace: records to append and expectations to look at, day by day.

    `shift` moves it by so many days: to a stack whose date is later than the story's. Raises Problem `bad_rules` with
    `line:column` for what cannot be told, `unknown_namespace` and others among it.
    """

    def __init__(
        self, text: str, workspace: Workspace, keys: KeyGeneration, stages: Stages | None, shift: int = 0
    ) -> None:
        self._workspace = workspace
        self._keys = keys
        self._stages = stages
        self._shift = shift
        fields = read(text).fields(("people", "story"), needed=("people", "story"))
        self._people = {who: self._identifiers(place) for who, place in fields["people"].entries().items()}
        self.told = [self._told(place) for place in fields["story"].items()]
        self._number = {told.pointer: number for number, told in enumerate(self.told)}

    @property
    def days(self) -> list[int]:
        """Days on which something is told, ascending, as days since 1970."""
        return sorted({told.day for told in self.told})

    # reading ----------------------------------------------------------------------------------------------

    def _identifiers(self, place: Place) -> tuple[Identifier, ...]:
        found = []
        for key, value in place.entries().items():
            namespace, _, scope = key.partition(":")
            spec = self._workspace.namespaces.get(namespace)
            if spec is None:
                value.refuse(
                    f"there is no namespace {namespace}{suggestion(namespace, list(self._workspace.namespaces))}"
                )
            if bool(spec.scope) != bool(scope):
                value.refuse(
                    f"write {namespace}:{spec.scope}: value" if spec.scope else f"{namespace} has no scope"
                )
            raw = value.text()
            form = normalize(spec, raw, self._workspace.region)
            if form is None:
                value.refuse(f"{raw} can be no {namespace}")
            found.append(
                Identifier(namespace, scope, raw, identifier_id(self._keys.pepper, namespace, scope, form))
            )
        if not found:
            place.refuse("somebody without an identifier cannot be told of")
        return tuple(found)

    def _told(self, place: Place) -> Told:
        fields = place.fields(("day", "who", *VERBS, *_WITH_EVENT), needed=("day", "who"))
        verbs = [name for name in fields if name in VERBS]
        if len(verbs) != 1:
            place.refuse(f"a line tells one of {', '.join(VERBS)}")
        verb, value = verbs[0], fields[verbs[0]]
        for name in _WITH_EVENT:
            if name in fields and verb != "does":
                fields[name].refuse(f"{name} stands with does alone")
        who = tuple(item.choice(list(self._people)) for item in fields["who"].items())
        if not who or (verb == "are" and len(who) < 2):
            fields["who"].refuse("nobody is named" if not who else "are compares two or more")
        return Told(
            place.pointer, fields["day"].day(), who, verb, self._value(verb, value),
            fields["times"].count(_MOST_TIMES) if "times" in fields else 1,
            {name: _mapping(fields[name]) for name in ("with", "is", "campaign") if name in fields},
        )  # fmt: skip

    def _value(self, verb: str, place: Place) -> Any:
        if verb == "are":
            return place.choice(("one", "apart"))
        if verb == "stands":
            return {column: wanted.plain() for column, wanted in place.entries(COLUMNS).items()}
        if verb == "does":
            return place.text()
        try:
            return said_value(verb, place.text(), self._stages)
        except Problem as problem:
            place.refuse(problem.detail)

    # telling ----------------------------------------------------------------------------------------------

    def records(self, day: int) -> list[AnyRecord]:
        """What happens and what is said on a day, as records of the log."""
        today = [told for told in self.told if told.day == day]
        items = [item for told in today if told.verb == "does" for item in self._items(told)]
        said = [
            Assertion(
                workspace=self._workspace.name, at=self._at(told), id=f"story-{self._number[told.pointer]:06}-{who}",
                identifier=self._people[who][0].identifier_id, what=cast(What, told.verb), value=told.value,
                author="story", day=self._date(day).isoformat(),
            )
            for told in today if told.verb in SAID for who in told.who
        ]  # fmt: skip
        batch = Events(
            workspace=self._workspace.name, source="story", received_at=self._noon(day),
            key_generation=self._keys.generation, batch=items,
        )  # fmt: skip
        return [*([batch] if items else []), *said]

    def dated(self, day: int) -> Date:
        """The record that puts a day in force."""
        return Date(
            workspace=self._workspace.name,
            at=self._noon(day),
            id=f"story-{day}",
            date=self._date(day).isoformat(),
        )

    def _date(self, day: int) -> date:
        return _EPOCH + timedelta(days=day + self._shift)

    def _noon(self, day: int) -> int:
        """Noon where the workspace is, µs UTC."""
        noon = datetime.combine(self._date(day), time(12), ZoneInfo(self._workspace.time_zone))
        return int(noon.timestamp()) * 1_000_000

    def _at(self, told: Told) -> int:
        """When a line happens, µs UTC: in the order of the lines."""
        return self._noon(told.day) + self._number[told.pointer] * 1_000_000

    def _items(self, told: Told) -> Iterator[Item]:
        at = datetime.fromtimestamp(self._at(told) / 1e6, UTC)
        ids = [each for who in told.who for each in self._people[who]]
        event = {
            "type": "track",
            "event": told.value,
            "timestamp": at.isoformat(),
            "properties": told.details.get("with", {}),
            "context": {
                "externalIds": [
                    {"type": i.namespace, "id": i.value} | ({"scope": i.scope} if i.scope else {})
                    for i in ids
                ],
                **({"traits": told.details["is"]} if "is" in told.details else {}),
                **({"campaign": told.details["campaign"]} if "campaign" in told.details else {}),
            },
        }
        for copy in range(told.times):
            try:
                yield admit(event | {"messageId": f"story-{self._number[told.pointer]}-{copy}"})
            except Problem as problem:
                raise Problem("bad_rules", problem.detail, told.pointer) from None

    # looking ----------------------------------------------------------------------------------------------

    def expectations(self, store: Store, day: int) -> Iterator[Expectation]:
        """What the story expects of a day, which is in force, and what the golden records say."""
        for told in self.told:
            if told.day != day or told.verb not in ("stands", "are"):
                continue
            found = {who: self._record(store, who) for who in told.who}
            on = _EPOCH + timedelta(days=day)
            if told.verb == "are":
                profiles = {row["profile_id"] for row in found.values()}
                is_so = (
                    "one" if len(profiles) == 1 else "apart" if len(profiles) == len(found) else "in part one"
                )
                yield Expectation(told.pointer, on, ", ".join(told.who), "are", told.value, is_so)
                continue
            for who in told.who:
                for column, wanted in told.value.items():
                    yield Expectation(told.pointer, on, who, column, wanted, _plain(found[who].get(column)))

    def _record(self, store: Store, who: str) -> dict[str, Any]:
        """The golden record of somebody; without columns where there is none."""
        identifier = self._people[who][0].identifier_id
        rows = store.query_arrow(
            "SELECT p.* FROM kintsugi.profiles AS p INNER JOIN kintsugi.profile_identifiers AS i"
            " ON p.workspace = i.workspace AND p.profile_id = i.profile_id"
            " WHERE p.workspace = {w:String} AND i.workspace = {w:String} AND i.identifier_id = {i:String}",
            {"w": self._workspace.name, "i": identifier},
        ).to_pylist()
        return rows[0] if rows else {"profile_id": identifier}


def _mapping(place: Place) -> dict[str, Any]:
    return {name: value.plain() for name, value in place.entries().items()}


def _plain(value: Any) -> Any:
    """A value of the store as a story writes it: maps, which Arrow gives as pairs, are mappings."""
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return dict(value)
    return value
