"""Conditions at moments: rows of what profiles were on days, each distinct row judged once by the store.

Invariant: what a condition gives at a moment is what the store says of the row of the columns that it names, as they
were on that day. Most moments look alike to a condition (a score is compared with constants only, a trait has few
values), so a cycle asks about as many rows as differ, whatever the number of its profiles and days.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.columns import CHANNEL, OWNER, coded, list_column, offsets_of, texts_at
from scoring.compile import when_select
from scoring.conditions import Condition
from scoring.crossings import bands
from scoring.events import Indexes, Int64s, Seen, keys_of, starts_of
from scoring.fit import FitResult, identity_points
from scoring.profile_rules import columns_of
from scoring.ruleset import ScoringRules
from scoring.traits import Traits
from store.client import Store

_REMEMBERED = 50_000
"""Rows of conditions whose results are kept; then all are forgotten."""
_FEW = 62
"""Names that a set of them is written with as bits of one integer."""


@dataclass(frozen=True)
class Held:
    """Names that profiles hold, one row for each of them, by (profile, day)."""

    profile: Int64s
    name: Int64s
    """Place in `names`."""
    since: Int64s
    """Day of the first sighting."""
    names: Sequence[str]
    """Ascending."""


def held_of(profile: Int64s, name: pa.StringArray, since: Int64s) -> Held:
    """What profiles hold, from one row of each of their identifiers."""
    code, names = coded(name)
    order = np.lexsort((since, code, profile))
    first = order[starts_of(profile[order], code[order])]
    first = first[np.lexsort((code[first], since[first], profile[first]))]
    return Held(profile[first], code[first], since[first], names)


@dataclass(frozen=True)
class Column:
    """A column over moments: integers that are equal where its values are, as many arrays as that takes."""

    codes: Sequence[Int64s]
    take: Callable[[Indexes], pa.Array]
    """Values at some of the moments."""


def numbers(values: Int64s, kind: pa.DataType | None = None) -> Column:
    """A column of integers."""
    return Column([values], lambda at: pa.array(values[at], kind or pa.int64()))


def choices(codes: Int64s, values: Sequence[Any], kind: pa.DataType) -> Column:
    """A column of few values, given by place."""
    return Column([codes], lambda at: pa.array([values[code] for code in codes[at].tolist()], kind))


def scores(values: Int64s, thresholds: Iterable[int]) -> Column:
    """A score, which is compared with these constants only."""
    limits = np.array(sorted(thresholds), np.int64)
    return Column([bands(values, limits)], lambda at: pa.array(values[at]))


class Judge:
    """Asks the store about rows of conditions, and remembers: an answer is a function of statement and row.

    Threads may share one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str], bytes] = {}

    def __call__(self, sql: str, rows: pa.Table, *columns: str) -> npt.NDArray[np.uint8]:
        """Results of a statement over the table `cycle`, those of its columns (Array(UInt8)) side by side by row.

        There is a row at least.
        """
        said = [
            (sql, repr(row)) for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)
        ]
        answers = [self._known.get(each) for each in said]
        open_ = [n for n, answer in enumerate(answers) if answer is None]
        if open_:
            number = pa.array([str(n) for n in range(len(open_))], pa.utf8())
            asked = rows.take(pa.array(open_)).add_column(0, "profile_id", number)
            # given parameters, the client would read the % of a LIKE as its own
            found = self._store.query_arrow(sql, external={"cycle": asked})
            parts = [found[name].to_pylist() for name in columns]
            if len(self._known) + len(open_) > _REMEMBERED:
                self._known.clear()
            for number_of, *results in zip(found["profile_id"].to_pylist(), *parts, strict=True):
                n = open_[int(number_of)]
                answers[n] = self._known[said[n]] = b"".join(map(bytes, results))
        told = [answer for answer in answers if answer is not None]
        assert len(told) == len(said), "the store answers for every row"
        return np.frombuffer(b"".join(told), np.uint8).reshape(len(told), len(told[0]))


class Moments:
    """What profiles were on days: the columns that conditions may name, worked out when one is named."""

    def __init__(
        self,
        profile: Int64s,
        day: Int64s,
        *,
        judge: Judge,
        rules: ScoringRules,
        traits: Traits,
        seen: Seen,
        held: Mapping[str, Callable[[], Held]],
    ) -> None:
        """`held`: `identifiers` and `email_domains`."""
        self._profile = profile
        self._day = day
        self._judge = judge
        self._rules = rules
        self._traits = traits
        self._held = held
        self._columns: dict[str, Callable[[], Column]] = {
            "trait_names": self._trait_names,
            "identifiers": lambda: self._names("identifiers"),
            "email_domains": lambda: self._names("email_domains"),
            "event_count": lambda: numbers(seen.count_on(profile, day), pa.uint64()),
            "first_channel": lambda: self._text(traits.first_on(CHANNEL, profile, day)),
            "last_channel": lambda: self._text(traits.on(CHANNEL, profile, day)),
            "owner": lambda: self._text(traits.on(OWNER, profile, day)),
            "identity_score": lambda: numbers(self.fit.score),
            "identity_grade": self._grade,
        }

    def give(self, **columns: Column) -> None:
        """Columns that are worked out elsewhere."""
        for name, column in columns.items():
            self._columns[name] = partial(_same, column)

    def judged(self, conditions: Sequence[Condition]) -> npt.NDArray[np.uint8]:
        """Which conditions hold, shape (moments, conditions)."""
        if not conditions or not len(self._profile):
            return np.zeros((len(self._profile), len(conditions)), np.uint8)
        rows, which = self.distinct(columns_of(conditions), conditions)
        return self._judge(when_select([each.sql for each in conditions], "cycle"), rows, "results")[which]

    def distinct(self, named: frozenset[str], conditions: Sequence[Condition]) -> tuple[pa.Table, Int64s]:
        """The distinct rows of columns, and which of them each moment has.

        Of the traits the rows hold what the conditions name.
        """
        columns = {name: self._columns[name]() for name in sorted(named - {"traits"})}
        if "traits" in named:
            columns["traits"] = self._trait_values(
                frozenset[str]().union(*(each.traits for each in conditions))
            )
        first, which = _distinct([c for column in columns.values() for c in column.codes], len(self._profile))
        if not columns:
            return pa.table({"always": pa.array([1] * len(first), pa.uint8())}), which
        return pa.table({name: column.take(first) for name, column in columns.items()}), which

    @cached_property
    def fit(self) -> FitResult:
        """Identity scores."""
        return identity_points(
            self.judged([rule.condition() for rule in self._rules.identity]),
            self._rules,
        )

    def _grade(self) -> Column:
        codes, names = coded(self.fit.grade)
        return choices(codes, names, pa.utf8())

    def _text(self, rows: Indexes) -> Column:
        traits = self._traits
        return Column([np.append(traits.codes, -1)[rows]], lambda at: texts_at(traits.values, rows[at]))

    def _trait_values(self, names: frozenset[str]) -> Column:
        """Traits that are not sealed, as far as they are named."""
        traits, chosen = self._traits, sorted(names)
        rows = np.full((len(self._profile), len(chosen)), -1)
        for n, name in enumerate(chosen):
            row = traits.on(name, self._profile, self._day)
            rows[:, n] = np.where(np.append(traits.is_sealed, False)[row], -1, row)
        codes = np.append(traits.codes, -1)[rows]

        def take(at: Indexes) -> pa.Array:
            moment, name = np.nonzero(rows[at] >= 0)
            values = traits.values.take(pa.array(rows[at][moment, name]))
            return pa.MapArray.from_arrays(
                offsets_of(len(at), moment), pa.array(chosen, pa.utf8()).take(pa.array(name)), values
            )

        return Column(list(codes.T), take)

    def _trait_names(self) -> Column:
        traits = self._traits
        held = np.empty((len(self._profile), len(traits.names)), np.bool_)
        for n, name in enumerate(traits.names):
            held[:, n] = traits.on(name, self._profile, self._day) >= 0
        held &= traits.is_own

        def take(at: Indexes) -> pa.Array:
            moment, name = np.nonzero(held[at])
            return list_column(moment, name, traits.names, len(at))

        bits = np.packbits(held, axis=1)
        return Column(list(bits.astype(np.int64).T), take)

    def _names(self, what: str) -> Column:
        """Names that were held by each day."""
        held = self._held[what]()
        start = np.searchsorted(held.profile, self._profile)
        end = np.searchsorted(keys_of(held.profile, held.since), keys_of(self._profile, self._day), "right")
        end = np.maximum(start, end)
        if len(held.names) <= _FEW:
            sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.left_shift(1, held.name))))
            codes = sums[end] - sums[start]  # wraps around as a whole, so the difference is right
        else:  # one name says which it is, more are told apart by where they end
            codes = np.where(end - start > 1, len(held.names) + end, np.append(held.name, -1)[start])
            codes = np.where(end == start, -1, codes)

        def take(at: Indexes) -> pa.Array:
            sizes = (end - start)[at]
            moment = np.repeat(np.arange(len(at)), sizes)
            row = np.arange(len(moment)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + start[at][moment]
            return list_column(moment, held.name[row], held.names, len(at))

        return Column([np.asarray(codes, np.int64)], take)


def _same(column: Column) -> Column:
    return column


def _distinct(codes: Sequence[Int64s], count: int) -> tuple[Indexes, Int64s]:
    """First moments of the distinct combinations of codes, and which of them each moment has."""
    which = np.zeros(count, np.int64)
    most = 1
    for column in codes:
        least, greatest = int(column.min()), int(column.max())
        if greatest - least > 1 << 30:
            _, column = np.unique(column, return_inverse=True)
            least, greatest = 0, int(column.max())
        if most * (greatest - least + 1) >= 1 << 62:
            _, which = np.unique(which, return_inverse=True)
            most = int(which.max()) + 1
        which = which * (greatest - least + 1) + (column - least)
        most *= greatest - least + 1
    _, first, which = np.unique(which, return_index=True, return_inverse=True)
    return first, which.astype(np.int64)
