"""What a command asks of the supervisor: a file in run/ that it removes once it has done so."""

import time

from kintsugi import endpoints
from kintsugi.settings import Settings
from schemas.errors import Problem

REBUILD, REPLAY = "rebuild", "replay"


def pending(settings: Settings) -> str:
    """The request that waits, or empty."""
    return next((name for name in (REBUILD, REPLAY) if (settings.run / f"{name}.request").exists()), "")


def done(settings: Settings, name: str) -> None:
    """The request was carried out."""
    (settings.run / f"{name}.request").unlink(missing_ok=True)


def ask(settings: Settings, name: str, timeout: float = 180.0) -> None:
    """Ask and wait until it is done. Problem when no stack runs or the supervisor does not react."""
    endpoints.require_running(settings)
    path = settings.run / f"{name}.request"
    path.touch()
    deadline = time.monotonic() + timeout
    while path.exists():
        if endpoints.running(settings) is None or time.monotonic() > deadline:
            path.unlink(missing_ok=True)
            raise Problem("bad_request", f"The supervisor did not carry out `{name}`; see `kintsugi status`.")
        time.sleep(0.2)
