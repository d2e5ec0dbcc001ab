"""`kintsugi quality`: the expectations of `schemas.expectations`, asked of a store, told as rows.

Invariant: an expectation that could not be asked counts as broken. Nothing is read into this process but counts and
figures; Great Expectations sends its queries through SQLAlchemy and reports to nobody.
"""

import io
import logging
import os
import warnings
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import pyarrow as pa

from kintsugi.calendar import now_us
from schemas.errors import Problem
from store.client import Store

_ROWS = pa.schema(
    {
        "workspace": pa.utf8(), "ran_at": pa.timestamp("us", "UTC"), "suite": pa.utf8(), "expectation": pa.utf8(),
        "says": pa.utf8(), "is_met": pa.bool_(), "expected": pa.utf8(), "observed": pa.float64(), "error": pa.utf8(),
    }
)  # fmt: skip


class Result(msgspec.Struct, frozen=True):
    """One expectation of one run, a row of quality_results."""

    workspace: str
    ran_at: datetime
    suite: str
    expectation: str
    says: str
    is_met: bool
    expected: str
    observed: float | None
    error: str

    def as_json(self) -> dict[str, Any]:
        """For machines; times as ISO 8601."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


def run(
    access: Mapping[str, str], workspaces: Iterable[str], now: datetime | None = None, only: str = ""
) -> list[Result]:
    """Ask everything, or the suite `only`, of these workspaces; `access` is the store's url, user and token.

    `now` judges freshness and dates the run; by default the clock does. Takes seconds, mostly of loading. Problem for a
    suite that is not there.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    # what libraries say of each other, and print, is no concern of whoever checks data
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import great_expectations as gx  # here: seconds and 300 MB that nobody else shall pay

        from schemas.expectations import SUITES, Scope

        logging.getLogger("great_expectations").setLevel(logging.ERROR)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        source = context.data_sources.add_sql("store", connection_string=_sqlalchemy_url(access))
        found: list[Result] = []
        try:
            in_force = _in_force(source)
            for workspace in workspaces:
                ran_at = now or datetime.fromtimestamp(now_us() / 1e6, UTC)
                scope = Scope(workspace, ran_at, *in_force.get(workspace, ("", date(1970, 1, 1))))
                for suite in [make(scope) for make in SUITES]:
                    if only in ("", suite.name):
                        found += _of_suite(gx, source, suite, workspace, ran_at)
        finally:
            source.get_engine().dispose()
    if only and not found:
        raise Problem("bad_request", f"There is no suite {only}.")
    return found


def _in_force(source: Any) -> dict[str, tuple[str, date]]:
    """Generation and date in force by workspace."""
    with source.get_engine().connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT workspace, generation, as_of FROM kintsugi_store.in_force FINAL"
        )
        return {workspace: (generation, as_of) for workspace, generation, as_of in rows}


def _of_suite(gx: Any, source: Any, suite: Any, workspace: str, ran_at: datetime) -> list[Result]:
    found = []
    for batch in suite.batches:
        name = f"{workspace}.{suite.name}.{batch.name}"
        asset = source.add_query_asset(name, query=f"SELECT * FROM ({batch.query})")
        asked = asset.add_batch_definition_whole_table("all").get_batch()
        told = asked.validate(gx.ExpectationSuite(name=name, expectations=list(batch.expectations)))
        by_name = {each.expectation_config.meta["name"]: each for each in told.results}
        for expectation in batch.expectations:
            one = by_name[expectation.meta["name"]]
            figure = _figure(one.result)
            found.append(
                Result(
                    workspace, ran_at, suite.name, expectation.meta["name"], expectation.description,
                    bool(one.success), _expected(expectation), figure, "" if figure is not None else _error(one),
                )
            )  # fmt: skip
    return found


def _figure(result: Mapping[str, Any]) -> float | None:
    """The observed figure, or the number of rows that break the expectation."""
    if "unexpected_count" in result:
        return float(result["unexpected_count"])
    told = result.get("observed_value")
    return None if told is None else float(str(told).split()[0])


def _expected(expectation: Any) -> str:
    kind = type(expectation).__name__
    if kind == "ExpectColumnMaxToBeBetween":
        return f"at most {expectation.max_value:g}"
    return f"at least {expectation.min_value:g}" if kind == "ExpectColumnMinToBeBetween" else "0 rows"


def _error(one: Any) -> str:
    """First line of the store's or the library's own words; of statements nothing, they are long."""
    for told in one.to_json_dict().get("exception_info", {}).values():
        message = told.get("exception_message") if isinstance(told, dict) else None
        if message:
            return str(message).splitlines()[0][:300]
    return "there was nothing to look at"


def _sqlalchemy_url(access: Mapping[str, str]) -> str:
    parts = urlsplit(access["url"])
    secure = "?secure=true" if parts.scheme == "https" else ""
    port = parts.port or (8443 if secure else 8123)
    user, token = quote(access["user"], safe=""), quote(access["token"], safe="")
    return f"clickhousedb://{user}:{token}@{parts.hostname}:{port}/kintsugi_store{secure}"


def keep(store: Store, results: list[Result]) -> None:
    """Add the results to the store; keeping them again changes nothing."""
    rows = [msgspec.structs.asdict(result) for result in results]
    store.insert_arrow("kintsugi_store.quality_results", pa.Table.from_pylist(rows, schema=_ROWS))
