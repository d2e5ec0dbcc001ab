"""A workspace (tenant): which namespaces its identifiers have, where channels come from, what is sensitive.

Invariant: a workspace is frozen and says nothing that identity.yaml or scoring.yaml say; with the pepper it
is the key generation under which evidence gets its ids. `to_json` is canonical: equal workspaces have equal
bytes.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from schemas.errors import Problem

FORMS = ("exact", "lower", "phone", "email", "provider_email")
"""How the values of a namespace are normalized, see `identity.normalize`."""
CHANNEL_PARTS = ("campaign", "properties")
"""Parts of an event that a channel rule may look at."""
SENSITIVE = frozenset(
    {
        "name",
        "firstName",
        "first_name",
        "lastName",
        "last_name",
        "phone",
        "mobile",
        "email",
        "address",
        "birthday",
    }
    | {"idNumber", "id_number", "idCard", "id_card", "passport"}
)
"""Properties and traits that are encrypted in every workspace."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_WORKSPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class NamespaceSpec:
    """What the values of one namespace look like."""

    name: str
    form: str = "exact"
    scope: str | None = None
    """Name of the scope (appid, corp) that an identifier must give; None: the namespace has none."""
    pattern: str | None = None
    """Regular expression that the whole normal form must match, else the value stays an attribute."""
    max_length: int = 320


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """`match` maps `campaign.NAME` or `properties.NAME` to a glob pattern; all must match."""

    match: tuple[tuple[str, str], ...]
    channel: str = ""
    owner: str = ""


BUILT_IN: Mapping[str, NamespaceSpec] = {
    spec.name: spec
    for spec in (
        NamespaceSpec("user_id"),
        NamespaceSpec("anonymous_id"),
        NamespaceSpec("phone", form="phone"),
        NamespaceSpec("email", form="email"),
        NamespaceSpec("wechat_openid", scope="appid"),
        NamespaceSpec("wechat_unionid"),
        NamespaceSpec("wecom_external_userid", scope="corp"),
    )
}


@dataclass(frozen=True, slots=True)
class Workspace:
    """Everything that turns an event of this tenant into evidence."""

    name: str
    time_zone: str
    region: str
    """ISO 3166 country whose phone numbers are written without a country code."""
    namespaces: Mapping[str, NamespaceSpec]
    channels: tuple[ChannelRule, ...] = ()
    sensitive: frozenset[str] = SENSITIVE

    def to_json(self) -> str:
        """Canonical ASCII JSON of everything but the name."""
        body = {
            "time_zone": self.time_zone,
            "region": self.region,
            "namespaces": {name: asdict(spec) for name, spec in self.namespaces.items()},
            "channels": [asdict(rule) for rule in self.channels],
            "sensitive": sorted(self.sensitive),
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, name: str, text: str | bytes) -> "Workspace":
        """The workspace that `to_json` wrote; trusts its input."""
        body = json.loads(text)
        return cls(
            name=name,
            time_zone=body["time_zone"],
            region=body["region"],
            namespaces={key: NamespaceSpec(**spec) for key, spec in sorted(body["namespaces"].items())},
            channels=tuple(
                ChannelRule(tuple((p, g) for p, g in rule["match"]), rule["channel"], rule["owner"])
                for rule in body["channels"]
            ),
            sensitive=frozenset(body["sensitive"]),
        )


def check_name(name: str) -> None:
    """Raises Problem `bad_request` for what cannot be the name of a workspace."""
    if not _WORKSPACE.fullmatch(name):
        raise Problem(
            "bad_request", f"{name[:70]!r} is no name: at most 63 lower-case letters, digits, - and _."
        )


def parse_workspace(name: str, text: str) -> Workspace:
    """The workspace of a `workspace.yaml`.

    Raises Problem `bad_rules`; its pointer is `line:column`, its detail suggests a known name that is close.
    Raises what `check_name` raises.
    """
    check_name(name)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        pointer = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise Problem("bad_rules", f"not YAML: {error.problem}", pointer) from error
    except yaml.YAMLError as error:
        raise Problem("bad_rules", "not YAML: a character that YAML does not allow", "1:1") from error
    fields: dict[str, yaml.Node] = {}
    if root is not None and not _is_null(root):
        known = ("time_zone", "region", "namespaces", "channels", "sensitive")
        fields = {key: node for key, _, node in _mapping(root, known)}
    return Workspace(
        name=name,
        time_zone=_time_zone(fields.get("time_zone")),
        region=_region(fields.get("region")),
        namespaces=_namespaces(fields.get("namespaces")),
        channels=_channels(fields.get("channels")),
        sensitive=SENSITIVE | {_text(node) for node in _sequence(fields.get("sensitive"))},
    )


def _refusal(node: yaml.Node, detail: str, word: str = "", known: tuple[str, ...] = ()) -> Problem:
    close = difflib.get_close_matches(word, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}" if known else ""
    return Problem("bad_rules", detail + hint, f"{node.start_mark.line + 1}:{node.start_mark.column + 1}")


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def _mapping(node: yaml.Node, known: tuple[str, ...] = ()) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """(key, node of the key, node of the value), each key once and, where `known` is given, among those."""
    if not isinstance(node, yaml.MappingNode):
        raise _refusal(node, "expected keys and values")
    seen: set[str] = set()
    for key_node, value_node in node.value:
        key = _text(key_node)
        if key in seen:
            raise _refusal(key_node, f"{key} appears twice")
        if known and key not in known:
            raise _refusal(key_node, f"unknown key {key}", key, known)
        seen.add(key)
        yield key, key_node, value_node


def _sequence(node: yaml.Node | None) -> list[yaml.Node]:
    if node is None or _is_null(node):
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise _refusal(node, "expected a list")
    return list(node.value)


def _text(node: yaml.Node) -> str:
    """A scalar as it was written (so `NO` stays NO), never empty."""
    if not isinstance(node, yaml.ScalarNode) or not str(node.value).strip():
        raise _refusal(node, "expected a text")
    return str(node.value)


def _time_zone(node: yaml.Node | None) -> str:
    if node is None:
        return "Asia/Shanghai"
    name = _text(node)
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise _refusal(node, f"{name} is no time zone of the IANA database, such as Asia/Shanghai") from error
    return name


def _region(node: yaml.Node | None) -> str:
    if node is None:
        return "CN"
    region = _text(node)
    if not re.fullmatch(r"[A-Z]{2}", region):
        raise _refusal(node, f"{region} is no country of two capital letters, such as CN")
    return region


def _namespaces(node: yaml.Node | None) -> dict[str, NamespaceSpec]:
    """Built-in namespaces, changed and extended by what the file declares, in order of name."""
    specs = dict(BUILT_IN)
    if node is not None and not _is_null(node):
        for name, key_node, value_node in _mapping(node):
            if not _NAME.fullmatch(name):
                raise _refusal(key_node, f"{name} is no namespace: lower-case letters, digits and _")
            specs[name] = _namespace(specs.get(name, NamespaceSpec(name)), value_node)
    return dict(sorted(specs.items()))


def _namespace(base: NamespaceSpec, node: yaml.Node) -> NamespaceSpec:
    if _is_null(node):
        return base
    given: dict[str, Any] = asdict(base)
    for key, _, value in _mapping(node, ("form", "scope", "pattern", "max_length")):
        given[key] = None if key in ("scope", "pattern") and _is_null(value) else _text(value)
        if key == "form" and given[key] not in FORMS:
            raise _refusal(value, f"unknown form {given[key]}", given[key], FORMS)
        if key == "scope" and given[key] is not None and not _NAME.fullmatch(given[key]):
            raise _refusal(value, f"{given[key]} is no scope: lower-case letters, digits and _")
        if key == "pattern" and given[key] is not None:
            try:
                re.compile(given[key])
            except re.error as error:
                raise _refusal(value, f"not a regular expression: {error}") from error
        if key == "max_length":
            if not given[key].isdecimal() or not 1 <= int(given[key]) <= 1024:
                raise _refusal(value, "max_length is a number from 1 to 1024")
            given[key] = int(given[key])
    return NamespaceSpec(**given)


def _channels(node: yaml.Node | None) -> tuple[ChannelRule, ...]:
    return tuple(_channel(item) for item in _sequence(node))


def _channel(node: yaml.Node) -> ChannelRule:
    match: list[tuple[str, str]] = []
    given = {"channel": "", "owner": ""}
    for key, _, value in _mapping(node, ("match", "channel", "owner")):
        if key != "match":
            given[key] = _text(value)
            continue
        for path, path_node, glob in _mapping(value):
            part, _, field = path.partition(".")
            if part not in CHANNEL_PARTS or not field:
                raise _refusal(path_node, f"{path} cannot be matched: campaign.NAME or properties.NAME can")
            match.append((path, _text(glob)))
    if not match:
        raise _refusal(node, "a channel rule needs a match")
    if not any(given.values()):
        raise _refusal(node, "a channel rule gives a channel, an owner or both")
    return ChannelRule(tuple(sorted(match)), given["channel"], given["owner"])
