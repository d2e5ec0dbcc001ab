"""Java archives that no Python package brings: a Kafka broker, and Flink's Kafka connector.

They come by coordinate from a Maven repository through `jgo` (which knows the user's own repositories and
proxies) and are kept in a cache. Invariant: what is returned has the SHA-256 that `schemas/jars.lock` tells.

    python -m pipelines.jars fetch      all of them, now (for an image, or before going offline)
    python -m pipelines.jars lock       resolve the dependencies anew and rewrite the lock
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

SETS = {
    # without a binding of slf4j a broker that does not start would not say why
    "broker": ("org.apache.kafka:kafka_2.13:4.1.1", "org.slf4j:slf4j-simple:1.7.36"),
    "connector": ("org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2",),
}
"""What can be asked for, and the coordinates that, with their runtime dependencies, it consists of."""

LOCK = Path(__file__).resolve().parent.parent / "schemas" / "jars.lock"

_HEADER = """\
# Written by `python -m pipelines.jars lock`: set, Maven coordinate, SHA-256.
"""


class JarsUnavailable(Exception):  # noqa: N818 named for the fact, as every error here
    """Jars cannot be had: no cache and no repository within reach, or not the bytes that the lock records.

    Only what runs on Kafka needs them; the embedded stack does not.
    """

    def __init__(self, coordinate: str, reason: str) -> None:
        super().__init__(
            f"{coordinate} cannot be had: {reason}. Where a Maven repository is within reach, "
            "`python -m pipelines.jars fetch` fills the cache (KINTSUGI_CACHE)."
        )
        self.coordinate = coordinate
        self.reason = reason


class Jar(NamedTuple):
    """One line of the lock."""

    set: str
    coordinate: str
    """group:artifact:version"""
    sha256: str

    @property
    def file_name(self) -> str:
        """As Maven names it: artifact-version.jar."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def default_cache() -> Path:
    """KINTSUGI_CACHE, or the user's cache folder."""
    folder = os.environ.get("KINTSUGI_CACHE")
    return (Path(folder) if folder else Path.home() / ".cache" / "kintsugi") / "jars"


def fetch(name: str, cache: Path | None = None) -> list[Path]:
    """Paths of the jars of a set, from the cache or, where missing, from a repository.

    Safe to run in several processes at once. Raises JarsUnavailable.
    """
    folder = cache or default_cache()
    wanted = [jar for jar in read_lock() if jar.set == name]
    if not wanted:
        raise JarsUnavailable(name, "the lock lists no such set")
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda jar: _fetch_one(jar, folder), wanted))


def read_lock() -> list[Jar]:
    """The entries of the lock, as they stand there."""
    lines = LOCK.read_text("ascii").splitlines()
    return [Jar(*line.split()) for line in lines if line and not line.startswith("#")]


def write_lock() -> None:
    """Resolves the dependencies of every set and records what they are now. Raises JarsUnavailable."""
    found: list[Jar] = []
    for name, roots in SETS.items():
        coordinates = {coordinate for root in roots for coordinate in _resolve(root)}
        with tempfile.TemporaryDirectory() as folder:
            for coordinate in sorted(coordinates):
                found.append(Jar(name, coordinate, _sha256(_download(coordinate, Path(folder)))))
    LOCK.write_text(_HEADER + "".join(f"{' '.join(jar)}\n" for jar in found), "ascii")


def _fetch_one(jar: Jar, folder: Path) -> Path:
    target = folder / jar.file_name
    if target.exists() and _sha256(target) == jar.sha256:
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
            arrived = Path(scratch) / "arrived.jar"
            shutil.copyfile(_download(jar.coordinate, Path(scratch)), arrived)
            digest = _sha256(arrived)
            if digest != jar.sha256:
                raise JarsUnavailable(jar.coordinate, f"its SHA-256 is {digest}, the lock says {jar.sha256}")
            arrived.replace(target)
    except OSError as error:
        raise JarsUnavailable(jar.coordinate, str(error)) from error
    return target


def _download(coordinate: str, folder: Path) -> Path:
    """The jar of a coordinate, from the user's Maven folder or downloaded into `folder`."""
    group, artifact, version = coordinate.split(":")
    try:
        path = _context(folder).project(group, artifact).at_version(version).artifact().resolve()
    except Exception as error:  # jgo lets errors of HTTP, of XML and its own pass
        raise JarsUnavailable(coordinate, str(error)) from error
    return Path(path)


def _resolve(root: str) -> Iterable[str]:
    """Coordinates of a root and its runtime dependencies."""
    import jgo

    try:
        artifacts = jgo.resolve(root)
    except Exception as error:
        raise JarsUnavailable(root, str(error)) from error
    return {f"{one.groupId}:{one.artifactId}:{one.version}" for one in artifacts}


def _context(folder: Path) -> Any:
    import jgo.config
    import jgo.constants
    import jgo.maven

    settings = jgo.config.GlobalSettings.load()
    repositories = {"central": jgo.constants.MAVEN_CENTRAL_URL, **settings.repositories}
    return jgo.maven.MavenContext(
        repo_cache=folder, local_repos=[settings.repo_cache], remote_repos=repositories, timeout=60
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: list[str]) -> int:
    """`fetch` or `lock`; the exit status."""
    try:
        if arguments == ["lock"]:
            write_lock()
        elif arguments == ["fetch"]:
            for name in SETS:
                print(f"{name}: {len(fetch(name))} jars in {default_cache()}")
        else:
            print("usage: python -m pipelines.jars fetch|lock", file=sys.stderr)
            return 2
    except JarsUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
