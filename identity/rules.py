"""Identity rules: what one person may hold, which identifiers are shared or blocked, which link wins.

Invariant: rules are data, complete in themselves: `from_json(to_json(r)) == r`, equal rules have equal
JSON, and no evidence depends on them. The order of `namespaces` is their strength. Every mistake in an
identity.yaml is a Problem `bad_rules` with its line and column.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Literal, NamedTuple, NoReturn

import yaml

from identity.evidence import namespace_of, patterns_of
from identity.limits import Limits, Vector
from schemas.errors import Problem

DEFAULT_BLOCKED_PATTERNS = frozenset({"placeholders", "zeros", "test_addresses", "test_phones"})
"""Named patterns that block where identity.yaml does not say which: values that nobody owns."""


@dataclass(frozen=True, slots=True)
class NamespaceRule:
    """Rules of one namespace.

    `max_per_profile`: identifiers of it in one profile at most. `shared_above`: by namespace, the number of
    distinct identifiers beyond which one of this namespace is shared. `limits_with`: a profile that holds
    one of this namespace holds at most so many of those. `keep`: of rival links whose weaker end is of this
    namespace, the first or the latest seen wins. `link_ttl_days`: its links stop counting so many days
    after they were last seen.
    """

    name: str
    max_per_profile: int | None = None
    shared_above: Mapping[str, int] = field(default_factory=dict)
    limits_with: Mapping[str, int] = field(default_factory=dict)
    keep: Literal["first", "latest"] = "first"
    link_ttl_days: int | None = None


class KindFacts(NamedTuple):
    """What the rules say of all identifiers of one kind."""

    strength: int
    is_blocked: bool
    rule: NamespaceRule
    unit: Vector
    """What one of them adds to the counts of a cluster."""
    counted: Mapping[str, tuple[int, int]]
    """`shared_above` of the namespace, with places for counters: counted namespace → (place, most)."""


@dataclass(frozen=True)
class IdentityRules:
    """A ruleset of identity; `namespaces` strongest first."""

    namespaces: tuple[NamespaceRule, ...] = ()
    blocked_patterns: frozenset[str] = frozenset()
    blocked_ids: frozenset[str] = frozenset()

    @cached_property
    def limits(self) -> Limits:
        """What one profile may hold."""
        most = {r.name: r.max_per_profile for r in self.namespaces if r.max_per_profile is not None}
        most_with = {(r.name, n): most for r in self.namespaces for n, most in sorted(r.limits_with.items())}
        return Limits(most, most_with)

    @cached_property
    def _by_name(self) -> dict[str, tuple[int, NamespaceRule]]:
        return {rule.name: (i, rule) for i, rule in enumerate(self.namespaces)}

    @cached_property
    def _facts(self) -> dict[str, KindFacts]:
        """Of the kinds asked for until now."""
        return {}

    def strength(self, namespace: str) -> int:
        """Place of the namespace, 0 is the strongest; all that are not listed share the last."""
        found = self._by_name.get(namespace)
        return found[0] if found else len(self.namespaces)

    def facts(self, kind: str) -> KindFacts:
        """What the rules say of a kind; single identifiers may be blocked besides."""
        facts = self._facts.get(kind)
        if facts is None:
            namespace = namespace_of(kind)
            found = self._by_name.get(namespace)
            rule = found[1] if found else NamespaceRule(namespace)
            facts = self._facts[kind] = KindFacts(
                self.strength(namespace),
                not self.blocked_patterns.isdisjoint(patterns_of(kind)),
                rule,
                self.limits.unit(namespace),
                {name: (i, rule.shared_above[name]) for i, name in enumerate(sorted(rule.shared_above))},
            )
        return facts

    def is_blocked(self, identifier_id: str, kind: str) -> bool:
        """True when the identifier is blocked itself, or matches a named pattern that is."""
        return identifier_id in self.blocked_ids or self.facts(kind).is_blocked

    def to_json(self) -> str:
        """Canonical JSON: ASCII, sorted keys, no spaces."""
        document = {
            "namespaces": [
                {
                    "name": rule.name,
                    "max_per_profile": rule.max_per_profile,
                    "shared_above": dict(rule.shared_above),
                    "with": dict(rule.limits_with),
                    "keep": rule.keep,
                    "link_ttl_days": rule.link_ttl_days,
                }
                for rule in self.namespaces
            ],
            "blocked_patterns": sorted(self.blocked_patterns),
            "blocked_ids": sorted(self.blocked_ids),
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> "IdentityRules":
        """The rules that `to_json` wrote."""
        document: dict[str, Any] = json.loads(text)
        namespaces = tuple(
            NamespaceRule(
                rule["name"],
                rule["max_per_profile"],
                rule["shared_above"],
                rule["with"],
                rule["keep"],
                rule["link_ttl_days"],
            )
            for rule in document["namespaces"]
        )
        return cls(namespaces, frozenset(document["blocked_patterns"]), frozenset(document["blocked_ids"]))


Rank = tuple[int, int, str, str] | tuple[()]
"""Place of a link in the one total order; smaller is tried earlier, `()` is before every link."""


def rank(a: str, b: str, facts_a: KindFacts, facts_b: KindFacts, first: int, last: int) -> Rank:
    """Rank of the link a–b, seen between the days `first` and `last`.

    Strength of the weaker end's namespace, then that namespace's `keep`, then the link's id. More evidence
    only ever improves a rank: `first` falls, `last` grows.
    """
    end = weaker(facts_a, facts_b)
    return (end.strength, -last if end.rule.keep == "latest" else first, a, b)


def weaker(facts_a: KindFacts, facts_b: KindFacts) -> KindFacts:
    """Facts of the weaker end of a link; ends of one strength have the same rule, or none."""
    return facts_a if facts_a.strength >= facts_b.strength else facts_b


def expiry_day(facts_a: KindFacts, facts_b: KindFacts, last: int) -> int | None:
    """First day on which a link last seen on `last` no longer counts: by the shorter `link_ttl` of its
    ends.
    """
    ttl_a, ttl_b = facts_a.rule.link_ttl_days, facts_b.rule.link_ttl_days
    if ttl_a is None or (ttl_b is not None and ttl_b < ttl_a):
        ttl_a = ttl_b
    return None if ttl_a is None else last + ttl_a


_TOP_KEYS = ("namespaces", "blocked")
_NAMESPACE_KEYS = ("name", "max_per_profile", "shared_above", "with", "keep", "link_ttl")
_BLOCKED_KEYS = ("patterns", "values")


def parse_rules(
    text: str,
    identify: Callable[[str, str], str],
    *,
    known_namespaces: Collection[str] | None = None,
    known_patterns: Collection[str] | None = None,
) -> IdentityRules:
    """The rules that an identity.yaml states.

    `identify` gives the identifier_id of a blocked (namespace, value), or raises Problem.
    Where the known namespaces or patterns are given, other names are refused. Without `blocked.patterns`
    the DEFAULT_BLOCKED_PATTERNS hold.

    Raises Problem `bad_rules`; its pointer is `line:column`, both from 1.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        pointer = f"{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise Problem("bad_rules", f"this is not YAML: {error.problem}", pointer) from error
    except yaml.YAMLError as error:
        raise Problem("bad_rules", f"this is not YAML: {error}") from error
    if root is None:
        return IdentityRules(blocked_patterns=DEFAULT_BLOCKED_PATTERNS)
    sections = _mapping(root, _TOP_KEYS)
    rules: list[NamespaceRule] = []
    for node in _sequence(sections["namespaces"]) if "namespaces" in sections else ():
        rule = _namespace(node, known_namespaces)
        if any(rule.name == other.name for other in rules):
            _refuse(node, f"namespace {rule.name} is listed twice")
        rules.append(rule)
    blocked = _mapping(sections["blocked"], _BLOCKED_KEYS) if "blocked" in sections else {}
    patterns = DEFAULT_BLOCKED_PATTERNS
    if "patterns" in blocked:
        names = [_name(node, known_patterns, "pattern") for node in _sequence(blocked["patterns"])]
        patterns = frozenset(names)
    values = _sequence(blocked["values"]) if "values" in blocked else ()
    ids = frozenset(i for node in values for i in _blocked_ids(node, identify, known_namespaces))
    return IdentityRules(tuple(rules), patterns, ids)


def _namespace(node: yaml.Node, known: Collection[str] | None) -> NamespaceRule:
    """One entry of `namespaces`."""
    entry = _mapping(node, _NAMESPACE_KEYS)
    if "name" not in entry:
        _refuse(node, "a namespace needs a name")
    keep: Literal["first", "latest"] = "first"
    if "keep" in entry:
        word = _text(entry["keep"])
        if word == "latest":
            keep = "latest"
        elif word != "first":
            _refuse(entry["keep"], f"keep is first or latest, not {word}")
    return NamespaceRule(
        _name(entry["name"], known, "namespace"),
        _number(entry["max_per_profile"]) if "max_per_profile" in entry else None,
        _numbers(entry["shared_above"], known) if "shared_above" in entry else {},
        _numbers(entry["with"], known) if "with" in entry else {},
        keep,
        _days(entry["link_ttl"]) if "link_ttl" in entry else None,
    )


def _blocked_ids(
    node: yaml.Node, identify: Callable[[str, str], str], known: Collection[str] | None
) -> Iterator[str]:
    """Identifier ids of one entry of `blocked.values`: {namespace: value}."""
    for name, value in _mapping(node).items():
        if known is not None and name not in known:
            _refuse(node, _unknown("namespace", name, known))
        try:
            yield identify(name, _text(value))
        except Problem as problem:
            raise Problem("bad_rules", problem.detail, _pointer(value)) from problem


def _pointer(node: yaml.Node) -> str:
    return f"{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _refuse(node: yaml.Node, detail: str) -> NoReturn:
    raise Problem("bad_rules", detail, _pointer(node))


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    """Sentence for a name that is not known, with the nearest that is."""
    near = get_close_matches(name, sorted(known), n=1)
    return f"unknown {what} {name}" + (f"; did you mean {near[0]}?" if near else "")


def _mapping(node: yaml.Node, keys: Collection[str] | None = None) -> dict[str, yaml.Node]:
    """The entries of a mapping, each key once and among `keys` when these are given."""
    if not isinstance(node, yaml.MappingNode):
        _refuse(node, "a mapping is expected here")
    entries: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = _text(key)
        if keys is not None and name not in keys:
            _refuse(key, _unknown("key", name, keys))
        if name in entries:
            _refuse(key, f"{name} is given twice")
        entries[name] = value
    return entries


def _sequence(node: yaml.Node) -> list[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        _refuse(node, "a list is expected here")
    items: list[yaml.Node] = node.value
    return items


def _text(node: yaml.Node) -> str:
    """Text of a scalar as it is written, so that 010 keeps its zero."""
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        _refuse(node, "a value is expected here")
    return str(node.value)


def _name(node: yaml.Node, known: Collection[str] | None, what: str) -> str:
    name = _text(node)
    if known is not None and name not in known:
        _refuse(node, _unknown(what, name, known))
    return name


def _number(node: yaml.Node) -> int:
    text = _text(node)
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        _refuse(node, f"a whole number from 1 is expected here, not {text}")
    return int(text)


def _numbers(node: yaml.Node, known: Collection[str] | None) -> dict[str, int]:
    """A mapping of namespaces to whole numbers from 1."""
    entries = _mapping(node)
    for name in entries:
        if known is not None and name not in known:
            _refuse(node, _unknown("namespace", name, known))
    return {name: _number(value) for name, value in entries.items()}


def _days(node: yaml.Node) -> int:
    text = _text(node)
    if not re.fullmatch(r"[1-9][0-9]{0,5}d", text):
        _refuse(node, f"a number of days such as 180d is expected here, not {text}")
    return int(text[:-1])
