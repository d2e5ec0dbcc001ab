"""Workspaces of a home: those that have keys. Their folders in `KINTSUGI_CONFIG` are the desired state.

Invariant: a key generation fixes namespaces, time zone and pepper of a workspace; a later change of
workspace.yaml changes nothing by itself.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from kintsugi.settings import CHECKOUT, Settings
from schemas.errors import Problem
from schemas.workspace import Workspace, check_name, parse_workspace
from store import keyring

FILES = ("workspace.yaml", "identity.yaml", "scoring.yaml")
_TEMPLATE = "demo"
SYSTEM = "system"
"""Workspace of what belongs to none: log lines that cannot be read."""


@dataclass(frozen=True)
class Created:
    """What `create` made; the keys are shown once and kept nowhere."""

    name: str
    folder: str
    is_new_folder: bool
    write_key: str
    read_key: str


def names(settings: Settings) -> list[str]:
    """Workspaces that have keys."""
    return [name for name in keyring.names(settings.home) if name != SYSTEM]


def require(settings: Settings, name: str) -> keyring.KeyGeneration:
    """Keys of the workspace; Problem that lists those there are."""
    known = names(settings)
    if name not in known:
        there = f"there are: {', '.join(known)}" if known else "there is none yet"
        advice = f"`kintsugi workspace create {name}` makes it"
        raise Problem("unknown_workspace", f"There is no workspace {name} ({there}); {advice}.")
    return keyring.load(settings.home, name)


def definition(settings: Settings, name: str) -> Workspace:
    """The workspace as its newest key generation says."""
    return Workspace.from_json(name, require(settings, name).workspace)


def time_zones(settings: Settings) -> dict[str, str]:
    """Time zone of each workspace."""
    return {name: definition(settings, name).time_zone for name in names(settings)}


def read_file(settings: Settings, name: str, file: str) -> str:
    """Text of a rules file; Problem that says which one is missing."""
    path = settings.config / name / file
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        template = _template(settings) / file
        advice = f"; copy it from {template}" if template.exists() else ""
        raise Problem("bad_rules", f"{path} is missing{advice}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("bad_rules", f"{path} cannot be read: {error}") from None


def files_in(settings: Settings, name: str, folder: str) -> list[str]:
    """YAML files of a folder of the workspace, by name; none where there is no such folder.

    Problem for a file that is meant to be one and is named otherwise.
    """
    inside = settings.config / name / folder
    for path in sorted(inside.glob("*.yml")):
        raise Problem("bad_rules", f"{path} would not be read: rename it to {path.stem}.yaml.")
    return sorted(f"{folder}/{path.name}" for path in inside.glob("*.yaml"))


def is_file_in_force(settings: Settings, name: str) -> bool:
    """Whether workspace.yaml says what the key generation says."""
    wanted = parse_workspace(name, read_file(settings, name, "workspace.yaml"))
    return wanted.to_json() == require(settings, name).workspace


def create(settings: Settings, name: str) -> Created:
    """Folder (from the template, where there is none), secrets, a write key and a read key; live at once."""
    from api.keys import create_key

    check_name(name)
    if name == SYSTEM:
        raise Problem("bad_request", f"{SYSTEM} holds log lines that belong to none; choose another name.")
    if name in names(settings):
        raise Problem("bad_request", f"The workspace {name} exists already.")
    folder = settings.config / name
    is_new = not folder.exists()
    if is_new:
        template = _template(settings)
        folder.mkdir(parents=True)
        for file in FILES:
            shutil.copyfile(template / file, folder / file)
    wanted = parse_workspace(name, read_file(settings, name, "workspace.yaml"))
    keyring.create(settings.home, name, wanted.to_json())
    return Created(
        name,
        str(folder),
        is_new,
        create_key(settings.home, name, "ingest"),
        create_key(settings.home, name, "read"),
    )


def _template(settings: Settings) -> Path:
    own = settings.config / _TEMPLATE
    return own if own.is_dir() else CHECKOUT / "workspaces" / _TEMPLATE
