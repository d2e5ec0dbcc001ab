"""The collector's process: `python -m kintsugi.serve_collect --fd N`, N an inherited listening socket."""

import argparse
import os
import socket

from api import collect
from api.keys import AccessKeys
from kintsugi import connections, endpoints
from kintsugi.settings import Settings
from store import keyring


def main() -> None:
    """Serve until SIGTERM; what was accepted is durable before the process ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    listener = socket.socket(fileno=parser.parse_args().fd)
    settings = Settings.load(os.environ)
    said = endpoints.require_running(settings)
    with connections.log(settings, said) as log:
        app = collect.create_app(
            log,
            AccessKeys(settings.home),
            key_generation=lambda workspace: keyring.load(settings.home, workspace).generation,
        )
        collect.server(app).run(sockets=[listener])


if __name__ == "__main__":
    main()
