"""The job: one line of steps, composed here and nowhere else.

Run by Flink's Python driver with `--config FILE`, the JSON that the supervisor writes: home, store, log, source_uid,
parallelism, mode (thread or process), checkpoint_interval_ms, check.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from pyflink.common import Configuration, Types
from pyflink.datastream import DataStream, StreamExecutionEnvironment

from pipelines.messages import key_of
from pipelines.operators import PICKLED, LandStep, NormalizeStep, ResolveStep, ScoreStep
from pipelines.sources import lines


def build(env: StreamExecutionEnvironment, config: dict[str, Any]) -> DataStream:
    """Compose the job: the one place where the steps are wired."""
    config = {"check": False, **config, "slots": config["parallelism"]}
    messages = lines(env, config["log"], config["source_uid"]).flat_map(NormalizeStep(config), PICKLED)
    messages.uid("normalize").name("normalize")
    for name, step in (
        ("land", LandStep(config)),
        ("resolve", ResolveStep(config)),
        ("score", ScoreStep(config)),
    ):
        messages = messages.key_by(key_of, Types.STRING()).process(step, PICKLED)
        messages.uid(name).name(name)
    return messages


def main() -> None:
    """Entry point of Flink's Python driver."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True, type=Path)
    config = json.loads(parser.parse_args().config.read_text())
    settings = Configuration()
    settings.set_string("python.execution-mode", config["mode"])
    env = StreamExecutionEnvironment.get_execution_environment(settings)
    env.set_parallelism(config["parallelism"])
    env.set_max_parallelism(128)
    env.enable_checkpointing(config["checkpoint_interval_ms"])
    build(env, config)
    env.execute("kintsugi")


if __name__ == "__main__":
    main()
