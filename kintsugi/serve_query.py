"""The query API's process: `python -m kintsugi.serve_query --fd N` (a listening socket) or `--host H --port P`."""

import os

from api.keys import AccessKeys
from api.query import create_app
from api.serving import server
from kintsugi import connections, endpoints, measures
from kintsugi.measures import Measured
from kintsugi.ports import asked_listener
from kintsugi.settings import Settings

_PATIENCE_S = 2.0
"""A caller who waits longer for the store would rather be told."""


def main() -> None:
    """Serve until SIGTERM; requests under way are answered."""
    listener = asked_listener()
    settings = Settings.load(os.environ)
    said = endpoints.require_running(settings)
    store = connections.store(settings, said, _PATIENCE_S, threads=1)
    log = connections.log(settings, said)
    app = create_app(store, AccessKeys(settings.home), settings.home, log, rate=settings.api_rate)
    app.state.query.metering.registry.register(Measured(lambda: measures.read(settings)))
    with log:
        server(app, lifespan="on").run(sockets=[listener])


if __name__ == "__main__":
    main()
