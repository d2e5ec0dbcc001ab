"""What the notebooks share: the store that a question goes to, and the log that a steward's word goes to.

Invariant: questions are asked with the analysts' login and see the public views; only `say` and `difference` use the
stack's own. A notebook finds a running stack by KINTSUGI_HOME, or the store that KINTSUGI_STORE_URL names.
"""

import os
import uuid
from typing import Any

import pandas as pd

from kintsugi import connections, preview
from kintsugi.calendar import now_us
from kintsugi.endpoints import Endpoints, ProcessEntry, require_running
from kintsugi.settings import Settings
from kintsugi.waiting import wait_for
from schemas.errors import Problem
from schemas.log_record import Override
from store.client import Store, connect

_settings = Settings.load(os.environ)
WORKSPACE = _settings.workspace
_said = (
    Endpoints("elsewhere", ProcessEntry(0, "", "stopped"), store=_settings.store_url)
    if _settings.store_url
    else require_running(_settings)
)


def _connected(access: dict[str, str]) -> Store:
    return connect(access["url"], user=access["user"], token=access["token"])


_analyst = _connected(connections.analyst_access(_settings, _said))


def ask(sql: str, **parameters: Any) -> pd.DataFrame:
    """A SELECT as a DataFrame; `{workspace:String}` and other parameters are filled in."""
    return _analyst.query_arrow(sql, {"workspace": WORKSPACE, **parameters}).to_pandas(date_as_object=False)


def say(verb: str, a: str, b: str, reason: str, patience: float = 60.0) -> None:
    """A steward's word on two identifiers, `force`, `never` or `none` (withdrawn), and what follows from it.

    Returns once the profiles hold it. Problem when the job has not done it after `patience` seconds.
    """
    record = Override(
        workspace=WORKSPACE, at=now_us(), id=uuid.uuid4().hex, verb=verb, a=min(a, b), b=max(a, b),
        author="notebook", reason=reason,
    )  # fmt: skip
    with connections.log(_settings, _said) as log:
        log.append([record]).result(30)
        marks = log.mark([WORKSPACE])
    if wait_for(marks, connections.store(_settings, _said), patience):
        raise Problem(
            "bad_request", f"{verb} is in the log and not yet in the profiles; see `kintsugi status`."
        )


def difference(before: str, after: str) -> preview.Preview:
    """What another generation would change, from the rows of both."""
    return preview.difference(connections.store(_settings, _said), WORKSPACE, before, after)
