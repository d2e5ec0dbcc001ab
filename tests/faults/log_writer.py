"""A process that writes to a directory log until it is killed, and prints each name once it is acknowledged.

With `limited`, files cannot grow beyond 200 kB until an append was refused; then it lifts the limit, appends
once more and ends.
"""

import resource
import sys
import threading
import time
import uuid
from pathlib import Path

import msgspec

from pipelines.log import LogSettings, LogUnavailable
from pipelines.log.directory import DirectoryLog
from schemas.log_record import Events, Item


def record(name: str) -> Events:
    body = msgspec.Raw(msgspec.json.encode({"messageId": name, "fill": "x" * 2000}))
    return Events(workspace="w", source="s", received_at=1, key_generation=1, batch=[Item(e=body)])


def say(text: str) -> None:
    sys.stdout.write(f"said {text}\n")
    sys.stdout.flush()


def write_for_ever(log: DirectoryLog) -> None:
    while True:
        name = uuid.uuid4().hex
        log.append([record(name)]).result()
        say(name)
        time.sleep(0.001)


def write_until_refused(log: DirectoryLog) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limit[1]))
    try:
        for number in range(1000):
            log.append([record(str(number))]).result()
            say(str(number))
    except LogUnavailable as error:
        say(type(error).__name__)
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    log.append([record("after")]).result()
    say("after")


def main(home: str, *mode: str) -> None:
    log = DirectoryLog(LogSettings(home=Path(home), segment_seconds=0.3))
    if mode:
        write_until_refused(log)
        log.close()
        return
    for _ in range(3):
        threading.Thread(target=write_for_ever, args=[log], daemon=True).start()
    write_for_ever(log)


if __name__ == "__main__":
    main(*sys.argv[1:])
