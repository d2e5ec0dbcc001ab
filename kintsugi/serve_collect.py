"""The collector's process: `python -m kintsugi.serve_collect --fd N` (a listening socket) or `--host H --port P`."""

import os

from api import collect
from api.keys import AccessKeys
from api.serving import server
from kintsugi import connections, endpoints
from kintsugi.ports import asked_listener
from kintsugi.settings import Settings
from store import keyring


def main() -> None:
    """Serve until SIGTERM; what was accepted is durable before the process ends."""
    listener = asked_listener()
    settings = Settings.load(os.environ)
    said = endpoints.require_running(settings)
    with connections.log(settings, said) as log:
        app = collect.create_app(
            log,
            AccessKeys(settings.home),
            key_generation=lambda workspace: keyring.load(settings.home, workspace).generation,
            rate=settings.collector_rate,
        )
        server(app).run(sockets=[listener])


if __name__ == "__main__":
    main()
