"""Bulk lookup: a table of namespace, scope, value becomes one of identifier_id and profile_id.

Invariant: the answer has the rows of the question in their order; values do not appear in it.
"""

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from identity.normalize import normalize
from kintsugi import workspaces
from kintsugi.settings import Settings
from schemas.errors import Problem
from schemas.ids import identifier_id
from schemas.workspace import Workspace
from store.client import Store

_SLICE = 50_000
_IDS = pa.schema([pa.field("identifier_id", pa.string(), nullable=False)])


def lookup(settings: Settings, store: Store, workspace: str, source: Path, target: Path) -> tuple[int, int]:
    """Reads `source`, writes `target` (CSV, or Parquet by the name's ending); (rows, rows that are known).

    An identifier that was never seen has an empty profile_id. Problem for a file without the columns.
    """
    table = read(source)
    ids = ids_of(settings, workspace, table)
    profiles = profiles_of(store, workspace, ids)
    answer = pa.table({"identifier_id": ids, "profile_id": profiles})
    if target.suffix == ".parquet":
        pyarrow.parquet.write_table(answer, target)
    else:
        pyarrow.csv.write_csv(answer, target)
    return len(ids), sum(1 for profile in profiles if profile)


def read(source: Path, needed: Collection[str] = ("namespace", "value")) -> pa.Table:
    """The table of a CSV or Parquet file; Problem when it cannot be read or lacks a column."""
    try:
        if source.suffix == ".parquet":
            table = pyarrow.parquet.read_table(source)
        else:
            texts = dict.fromkeys(("namespace", "scope", "value", "person"), pa.string())
            options = pyarrow.csv.ConvertOptions(column_types=texts)
            table = pyarrow.csv.read_csv(source, convert_options=options)
    except (OSError, pa.ArrowInvalid) as error:
        raise Problem("bad_request", f"{source} cannot be read: {error}") from None
    absent = set(needed) - set(table.column_names)
    if absent:
        raise Problem("bad_request", f"{source} has no column {', '.join(sorted(absent))}.")
    return table


def ids_of(settings: Settings, name: str, table: pa.Table) -> list[str]:
    """identifier_id of each row; empty where the value is no identifier of the workspace."""
    keys = workspaces.require(settings, name)
    workspace = Workspace.from_json(name, keys.workspace)
    scopes = table["scope"].to_pylist() if "scope" in table.column_names else [""] * table.num_rows
    ids = []
    for namespace, scope, value in zip(
        table["namespace"].to_pylist(), scopes, table["value"].to_pylist(), strict=True
    ):
        spec = workspace.namespaces.get(namespace or "")
        form = normalize(spec, str(value), workspace.region) if spec and value is not None else None
        scoped = (scope or "") if spec and spec.scope else ""
        is_unscoped = spec is not None and spec.scope and not scoped
        ids.append(identifier_id(keys.pepper, namespace, scoped, form) if form and not is_unscoped else "")
    return ids


def profiles_of(store: Store, workspace: str, ids: list[str]) -> list[str]:
    """profile_id of each identifier_id; empty where it was never seen."""
    profiles: list[str] = []
    for start in range(0, len(ids), _SLICE):
        profiles += _profiles(store, workspace, ids[start : start + _SLICE])
    return profiles


def _profiles(store: Store, workspace: str, ids: list[str]) -> list[str]:
    asked = pa.table({"identifier_id": sorted(set(ids))}, schema=_IDS)
    ask = {"workspace": workspace}
    known = store.query_rows(
        "SELECT DISTINCT identifier_id FROM kintsugi_store.identifiers "
        "WHERE workspace = {workspace:String} AND identifier_id IN (SELECT identifier_id FROM asked)",
        ask,
        {"asked": asked},
    )
    moved = store.query_rows(
        "SELECT identifier_id, profile_id FROM kintsugi_store.identity_map FINAL "
        "WHERE workspace = {workspace:String} AND identifier_id IN (SELECT identifier_id FROM asked) "
        "AND (workspace, generation) IN (SELECT workspace, generation FROM kintsugi_store.in_force FINAL)",
        ask,
        {"asked": asked},
    )
    profile = {str(i): str(i) for (i,) in known} | {str(i): str(p) for i, p in moved}
    return [profile.get(i, "") for i in ids]
