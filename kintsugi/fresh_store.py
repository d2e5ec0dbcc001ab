"""An empty embedded store that lives as long as a block: for the reference, and for stories of rules.

Invariant: it lies in a folder of its own that goes with it, and knows nothing of anybody's data.
"""

import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kintsugi.settings import CHECKOUT
from schemas.errors import Problem
from store.client import Store, StoreSettings
from store.migrate import migrate


@contextmanager
def fresh_store() -> Iterator[Store]:
    """An empty store with all tables, in a process of its own. Problem when it does not start."""
    with tempfile.TemporaryDirectory() as folder:
        token = Path(folder, "token")
        token.write_text(secrets.token_hex(16), encoding="ascii")
        words = ["--path", f"{folder}/store", "--port", "0", "--token-file", str(token)]
        command = [sys.executable, "-m", "store.endpoint", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=CHECKOUT) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line:
                    raise Problem("store_unavailable", "The embedded store does not start; see above.")
                store = Store(StoreSettings(url=json.loads(line)["url"], token=token.read_text()))
                migrate(store)
                yield store
                store.close()
            finally:
                process.kill()
