"""The form of a suite: batches of rows from the store, each with what is expected of it.

Invariant: every expectation has a name that is unique in its suite (`meta["name"]`) and a sentence (`description`) that
says what is true of good data. Statements contain neither `%` nor braces, which SQLAlchemy and Great Expectations read.
"""

from dataclasses import dataclass
from datetime import date, datetime
from string import Template

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation

SETTLING_SECONDS = 120
"""Evidence younger than this may still be on its way through the job: closures leave it out."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose data is judged, and when."""

    workspace: str
    now: datetime
    """In UTC."""
    generation: str
    """In force; empty before the first one."""
    as_of: date
    """The date in force."""

    def sql(self, text: str) -> str:
        """`text` with $workspace, $generation and $as_of (those in force), $now and $settled filled in."""
        now = f"toDateTime64('{self.now:%Y-%m-%d %H:%M:%S}', 6, 'UTC')"
        return Template(text).substitute(
            workspace=f"'{self.workspace}'",
            now=now,
            settled=f"({now} - INTERVAL {SETTLING_SECONDS} SECOND)",
            generation=f"'{self.generation}'",
            as_of=f"toDate32('{self.as_of}')",
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one SELECT and what is expected of them."""

    name: str
    query: str
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True, slots=True)
class Suite:
    """Expectations about one kind of thing."""

    name: str
    about: str
    batches: tuple[Batch, ...]


def unique(name: str, column: str, says: str) -> Expectation:
    """No value of the column stands twice."""
    return gxe.ExpectColumnValuesToBeUnique(column=column, meta={"name": name}, description=says)


def one_of(name: str, column: str, values: list[str], says: str) -> Expectation:
    """Every value of the column is in the list."""
    return gxe.ExpectColumnValuesToBeInSet(
        column=column, value_set=values, meta={"name": name}, description=says
    )


def within(name: str, column: str, least: float | None, most: float | None, says: str) -> Expectation:
    """Every value of the column lies between the two, both included."""
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=least, max_value=most, meta={"name": name}, description=says
    )


def at_most(figure: str, most: float, says: str) -> Expectation:
    """The figure, a column of a batch of one row, is no greater than that."""
    return gxe.ExpectColumnMaxToBeBetween(
        column=figure, max_value=most, meta={"name": figure}, description=says
    )


def at_least(figure: str, least: float, says: str) -> Expectation:
    """The figure, a column of a batch of one row, is no smaller than that."""
    return gxe.ExpectColumnMinToBeBetween(
        column=figure, min_value=least, meta={"name": figure}, description=says
    )


def nothing(name: str, query: str, says: str) -> Expectation:
    """The SELECT, which may read the batch as {batch}, finds no row."""
    return gxe.UnexpectedRowsExpectation(unexpected_rows_query=query, meta={"name": name}, description=says)
