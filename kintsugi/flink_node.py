"""One node of a Flink cluster of several machines, from the PyPI package, by Flink's own start scripts.

    python -m kintsugi.flink_node jobmanager|taskmanager --conf DIR

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


def command(node: str, conf: Path, settings: Settings, lib: Path) -> tuple[list[str], dict[str, str]]:
    """argv and environment of a node whose jars are to be linked into the new folder `lib`. Raises JarsUnavailable."""
    link_jars(lib, tuple(jars.fetch("connector")))
    settings.logs.mkdir(parents=True, exist_ok=True)
    environment = flink_environment(settings, conf.resolve(), lib)
    script = pyflink_home() / "bin" / f"{node}.sh"
    return ["bash", str(script), "start-foreground"], environment


def main() -> None:
    """Become the node."""
    parser = argparse.ArgumentParser(prog="python -m kintsugi.flink_node")
    parser.add_argument("node", choices=("jobmanager", "taskmanager"))
    parser.add_argument(
        "--conf", type=Path, required=True, help="folder with config.yaml and log4j-console.properties"
    )
    asked = parser.parse_args()
    lib = Path(tempfile.mkdtemp(prefix="kintsugi-flink-")) / "lib"
    argv, environment = command(asked.node, asked.conf, Settings.load(os.environ), lib)
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - the command is ours


if __name__ == "__main__":
    main()
