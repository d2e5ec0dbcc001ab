"""Explanations on the command line: identifiers out of text, answers into lines.

Invariant: the answers are those of the query API; nothing is shown beyond masks.
"""

import re
from datetime import date

from api.answers import Identifier
from api.evidence import Describer, IdentifierRef, StepAnswer
from api.explain import Explainer
from api.explained import ObstacleAnswer
from api.identifiers import Secrets
from kintsugi import workspaces
from kintsugi.settings import Settings
from kintsugi.words import counted
from schemas.errors import Problem
from schemas.workspace import Workspace
from store.client import Store

_ID = re.compile(r"[0-9a-f]{32}")


class Explanations:
    """Answers for one workspace, as lines of text."""

    def __init__(self, settings: Settings, store: Store, workspace: str) -> None:
        keys = workspaces.require(settings, workspace)
        self.secrets = Secrets(Workspace.from_json(workspace, keys.workspace), keys)
        self._describer = Describer(store, workspace)
        self.explainer = Explainer(store, workspace)

    def identifier(self, text: str) -> str:
        """identifier_id of `namespace:value`, `namespace:scope:value`, or an identifier_id.

        Raises Problem `unknown_profile`, `unknown_namespace`, `missing_scope`, `bad_request`.
        """
        (found,) = self._describer.ids(self.secrets, [("", reference(self.secrets.workspace, text))])
        return found

    def why(self, a: str, b: str) -> list[str]:
        """Why the two are one person."""
        answer = self.explainer.why(self.identifier(a), self.identifier(b))
        if not answer.are_one:
            return ["They are not one person; `kintsugi why-not` says what keeps them apart."]
        return [f"profile {answer.profile_id}, as of {answer.as_of}", *map(_step, answer.steps)]

    def why_not(self, a: str, b: str) -> list[str]:
        """What keeps the two apart."""
        answer = self.explainer.why_not(self.identifier(a), self.identifier(b))
        if answer.are_one:
            return ["They are one person; `kintsugi why` says why."]
        return [_obstacle(obstacle) for obstacle in answer.obstacles]

    def how(self, profile: str) -> list[str]:
        """How the profile came together."""
        answer = self.explainer.how(self.identifier(profile))
        return [f"profile {answer.profile_id}, as of {answer.as_of}", *map(_step, answer.steps)]

    def bridges(self, profile: str) -> list[str]:
        """What the profile hangs by."""
        answer = self.explainer.bridges(self.identifier(profile))
        lines = [
            f"{bridge.sizes[0]:>4} | {bridge.sizes[1]:<4}  {_step(bridge.step)}" for bridge in answer.bridges
        ]
        return [f"profile {answer.profile_id}: {counted(len(lines), 'bridge')}", *lines]

    def as_known(self, identifier: str, on: date) -> list[str]:
        """Who the identifier was on a day, as known then."""
        time_zone = self.secrets.workspace.time_zone
        answer = self.explainer.as_known(self.identifier(identifier), on, time_zone)
        head = f"{answer.state} on {on}, by evidence received before {answer.known_before:%Y-%m-%d %H:%M %Z}"
        profile = [f"profile {answer.profile_id}"] if answer.profile_id else []
        return [head, *profile, *(f"  {_name(each)}" for each in answer.identifiers)]


def reference(workspace: Workspace, text: str) -> IdentifierRef:
    """What an identifier on the command line means. Raises Problem `bad_request`, `unknown_namespace`."""
    if _ID.fullmatch(text):
        return IdentifierRef(identifier_id=text)
    namespace, colon, value = text.partition(":")
    if not colon:
        raise Problem("bad_request", f"{text} is no identifier; write namespace:value, or an identifier_id.")
    spec = workspace.namespaces.get(namespace)
    if spec is None:
        raise Problem("unknown_namespace", f"There is no namespace {namespace} in the workspace.")
    scope = ""
    if spec.scope:
        scope, colon, value = value.partition(":")
        if not colon:
            raise Problem(
                "missing_scope", f"{namespace} needs its {spec.scope}: {namespace}:{spec.scope}:value."
            )
    return IdentifierRef(namespace=namespace, scope=scope, value=value)


def _name(identifier: Identifier) -> str:
    scope = f" {identifier.scope}" if identifier.scope else ""
    return f"{identifier.namespace or 'unseen'}{scope} {identifier.value or identifier.identifier_id}"


def _step(step: StepAnswer) -> str:
    told = f"{_name(step.a)} — {_name(step.b)}"
    if step.first_day:
        told += f"  {step.first_day}" + (f" to {step.last_day}" if step.last_day != step.first_day else "")
    if step.event:
        told += f"  {step.event.event} from {step.event.source} ({step.event.event_id})"
    if step.is_forced and step.override:
        told += f"  forced by {step.override.author}: {step.override.reason}"
    return told


def _obstacle(obstacle: ObstacleAnswer) -> str:
    where = f"  {_step(obstacle.step)}" if obstacle.step else ""
    if obstacle.override:
        return f"never_link by {obstacle.override.author}: {obstacle.override.reason}{where}"
    if obstacle.identifier:
        return f"{obstacle.reason}: {_name(obstacle.identifier)}{where}"
    if obstacle.reason == "no_evidence":
        return "no_evidence: nothing within reach connects them"
    return f"{obstacle.reason} {obstacle.blocker}".rstrip() + where
