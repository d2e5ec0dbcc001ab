"""One node of a Flink cluster of several machines, or Flink's own client, by Flink's scripts from the PyPI package.

    python -m kintsugi.flink_node jobmanager|taskmanager --conf DIR
    python -m kintsugi.flink_node client --conf DIR run --detached --python pipelines/job.py --config FILE

DIR holds config.yaml and log4j-console.properties. Invariant: the process becomes the JVM, so that whoever started
it (a container, an init system) supervises Flink itself. What the embedded cluster needs for Python holds here too:
flink-python in the lib folder, this environment's `bin` first on PATH, the connector for Kafka beside Flink's jars.
"""

import argparse
import os
import tempfile
from pathlib import Path

from kintsugi.flink import flink_environment, link_jars, pyflink_home
from kintsugi.settings import Settings
from pipelines import jars

_SCRIPTS = {
    "jobmanager": ("jobmanager.sh", "start-foreground"),
    "taskmanager": ("taskmanager.sh", "start-foreground"),
    "client": ("flink",),
}


def command(node: str, conf: Path, settings: Settings, lib: Path) -> tuple[list[str], dict[str, str]]:
    """argv and environment of a node whose jars are to be linked into the new folder `lib`. Raises JarsUnavailable."""
    link_jars(lib, tuple(jars.fetch("connector")))
    settings.logs.mkdir(parents=True, exist_ok=True)
    script, *words = _SCRIPTS[node]
    environment = flink_environment(settings, conf.resolve(), lib)
    return ["bash", str(pyflink_home() / "bin" / script), *words], environment


def main() -> None:
    """Become the node; what follows its options is the script's own."""
    parser = argparse.ArgumentParser(prog="python -m kintsugi.flink_node", allow_abbrev=False)
    parser.add_argument("node", choices=tuple(_SCRIPTS))
    parser.add_argument(
        "--conf", type=Path, required=True, help="folder with config.yaml and log4j-console.properties"
    )
    asked, rest = parser.parse_known_args()
    lib = Path(tempfile.mkdtemp(prefix="kintsugi-flink-")) / "lib"
    argv, environment = command(asked.node, asked.conf, Settings.load(os.environ), lib)
    os.execvpe(argv[0], [*argv, *rest], environment)  # noqa: S606 - the command is ours


if __name__ == "__main__":
    main()
