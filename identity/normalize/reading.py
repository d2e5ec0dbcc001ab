"""What an event says: its identifiers, traits and channel.

Invariant: reading never fails for an admitted event; what cannot be an identifier stays an attribute, and
`identifier_problems` tells of identifiers that the workspace's declaration does not allow.
"""

import fnmatch
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from identity.normalize.forms import normalize
from schemas.events import Event
from schemas.workspace import Workspace

_decode = msgspec.json.Decoder().decode
_MOST_CHANNELS = 10_000
"""Remembered findings; campaigns are few, whatever visitors invent is forgotten again."""
_TRAIT_NAMESPACES = (("phone", "phone"), ("mobile", "phone"), ("email", "email"))


def raw_identifiers_of(event: Event, workspace: Workspace) -> list[tuple[str, str, str]]:
    """(namespace, scope, text as given) of every identifier that the event carries, distinct; scope may be
    empty.

    Cheap; `normalize` makes the text an identifier or refuses it.
    """
    found: dict[tuple[str, str, str], None] = {}
    if event.userId:
        found["user_id", "", event.userId] = None
    if event.anonymousId:
        found["anonymous_id", "", event.anonymousId] = None
    # an alias onto oneself says nothing (Segment's web SDK sends it when an identified user is aliased)
    if event.type == "alias" and event.previousId and event.previousId != event.userId:
        found["anonymous_id", "", event.previousId] = None
    context = event.context
    # the traits of a group are those of a company
    for traits in (event.traits if event.type != "group" else {}, context.traits):
        if traits:
            for trait, namespace in _TRAIT_NAMESPACES:
                text = traits.get(trait)
                if text and isinstance(text, str):
                    found[namespace, "", text] = None
    if context.externalIds or context.externalId:
        for _, namespace, scope, text, code in _external(event, workspace):
            if not code:
                found[namespace, scope, text] = None
    return list(found)


def identifiers_of(event: Event, workspace: Workspace) -> list[tuple[str, str, str]]:
    """(namespace, scope, normal form) of the event's identifiers, distinct, ascending."""
    found = set()
    for namespace, scope, text in raw_identifiers_of(event, workspace):
        form = normalize(workspace.namespaces[namespace], text, workspace.region)
        if form is not None:
            found.add((namespace, scope, form))
    return sorted(found)


def identifier_problems(event: Event, workspace: Workspace) -> list[tuple[str, str]]:
    """(code, JSON pointer) of the external ids that are ignored: `unknown_namespace` or `missing_scope`."""
    if not event.context.externalIds and not event.context.externalId:
        return []
    return [(code, pointer) for pointer, _, _, _, code in _external(event, workspace) if code]


def _external(event: Event, workspace: Workspace) -> Iterator[tuple[str, str, str, str, str]]:
    """(pointer, namespace, scope, text, code) of each external id; an empty code means that it counts.

    The scope is given as `scope`, under its own name (`appid`), or behind the type: `wechat_openid:wx123`.
    """
    context = event.context
    for field, entries in (("externalIds", context.externalIds), ("externalId", context.externalId)):
        for index, entry in enumerate(entries):
            namespace, _, scope = entry["type"].partition(":")
            pointer = f"/context/{field}/{index}/type"
            spec = workspace.namespaces.get(namespace)
            if spec is None:
                yield pointer, namespace, "", "", "unknown_namespace"
            elif spec.scope is None:
                yield pointer, namespace, "", entry["id"], ""
            else:
                scope = (scope or _text(entry.get("scope")) or _text(entry.get(spec.scope))).strip()
                yield pointer, namespace, scope, entry["id"], "" if scope else "missing_scope"


def traits_of(event: Event) -> dict[str, Any]:
    """Traits that the event tells of its subject; None unsets one.

    Those of `identify` win over those of the context. A group's id is the trait `company_id`, its traits are
    prefixed `company_`.
    """
    traits = event.context.traits
    if event.type == "identify":
        return {**traits, **event.traits} if traits else event.traits
    if event.type == "group":
        company = {f"company_{name}": value for name, value in event.traits.items()}
        return {**traits, **company, "company_id": event.groupId}
    return traits


Channels = Callable[[Event], tuple[str, str]]


def channels_of(workspace: Workspace) -> Channels:
    """A function that gives (channel, owner) of an event, empty where it has none; it remembers what it found.

    The first rule that matches and gives a channel gives the channel, likewise the owner. Without one, the
    campaign is the channel (`source/medium`, or `source`), `properties.employee` the owner.
    """
    asked = sorted(
        {path.partition(".")[2] for rule in workspace.channels for path, _ in rule.match if path[0] == "p"}
        | {"employee"}
    )
    mentions = re.compile("|".join(re.escape(f'"{name}":') for name in asked).encode()).search
    found: dict[tuple[bytes, tuple[str, ...]], tuple[str, str]] = {}

    def channel_and_owner(event: Event) -> tuple[str, str]:
        campaign = bytes(event.context.campaign)
        properties = _object(event.properties) if mentions(event.properties) else {}
        if not campaign and not properties:
            return "", ""
        key = campaign, tuple(_text(properties.get(name)) for name in asked)
        if key not in found:
            if len(found) >= _MOST_CHANNELS:
                found.clear()
            found[key] = _channel(
                workspace, _object(event.context.campaign), dict(zip(asked, key[1], strict=True))
            )
        return found[key]

    return channel_and_owner


def channel_of(event: Event, workspace: Workspace) -> tuple[str, str]:
    """(channel, owner) of one event; `channels_of` is for many."""
    return channels_of(workspace)(event)


def _channel(workspace: Workspace, campaign: dict[str, Any], properties: dict[str, Any]) -> tuple[str, str]:
    channel = owner = ""
    for rule in workspace.channels:
        if all(
            _matches(glob, campaign if path[0] == "c" else properties, path.partition(".")[2])
            for path, glob in rule.match
        ):
            channel, owner = channel or rule.channel, owner or rule.owner
    if not channel and campaign:
        source, medium = _text(campaign.get("source")), _text(campaign.get("medium"))
        channel = f"{source}/{medium}" if source and medium else source
    return channel, owner or _text(properties.get("employee"))


def _matches(glob: str, holder: dict[str, Any], name: str) -> bool:
    value = _text(holder.get(name))
    return bool(value) and _glob(glob).fullmatch(value) is not None


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


def _object(raw: msgspec.Raw) -> dict[str, Any]:
    """The object in these bytes; empty when there is none."""
    value = _decode(raw) if raw else None
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    """A text or a whole number as text, else nothing."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
