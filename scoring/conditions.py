"""The condition language: SQL boolean expressions over listed columns, checked, then written anew.

Invariants: the SQL returned is generated from the checked tree, never the author's text; it evaluates
without an error whatever a row holds (text meets text, numbers meet numbers, patterns are complete); a
node, function, column or argument of a node that is not listed here is refused. What missing values read
as stands in schemas/condition_columns.py.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from schemas.condition_columns import EVENT_COLUMNS, PROFILE_COLUMNS, ConditionColumn, Level, columns_before
from schemas.errors import Problem
from scoring.sql_text import quote

MAX_CHARACTERS = 4000
MAX_TOKENS = 800
MAX_NESTING = 20
MAX_PATH = 4
"""Names in a row after properties or context."""

Type = Literal["text", "number", "boolean", "texts", "score"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked condition: the author's text, and SQL that gives 1 where it is true and 0 elsewhere."""

    text: str
    sql: str
    columns: frozenset[str] = frozenset()
    """Columns that it names."""
    traits: frozenset[str] = frozenset()
    """Names of traits that it reads values of."""
    thresholds: frozenset[int] = frozenset()
    """Constants, in thousandths, that it compares a score with."""
    of_score: str = ""
    """SQL over `behaviour_score` alone without which it does not hold; empty where nothing is known."""


def event_condition(text: str) -> Condition:
    """A `where`, judged over one event. Raises Problem `bad_condition`."""
    return _compile(text, EVENT_COLUMNS)


def profile_condition(text: str, decides: Level) -> Condition:
    """A `when` that decides something of a level, over columns before it. Raises Problem `bad_condition`."""
    return _compile(text, columns_before(decides))


@lru_cache(maxsize=4096)
def _compile(text: str, columns: tuple[ConditionColumn, ...]) -> Condition:
    checker = _Checker(columns)
    tree = _parse(text)
    checked = checker.visit(tree)
    if checked.type != "boolean":
        raise _refused(f"a condition must be true or false, this is {_article(checked.type)}")
    return Condition(
        text,
        f"ifNull({checked.sql}, 0)",
        frozenset(checker.named),
        frozenset(checker.traits),
        frozenset(checker.thresholds),
        _of_score(tree, columns),
    )


def _of_score(tree: Any, columns: tuple[ConditionColumn, ...]) -> str:
    """The terms, joined by AND on the outside of a checked condition, that name no column but `behaviour_score`."""
    outside = tree.unnest()
    terms = []
    for part in outside.flatten() if isinstance(outside, exp.And) else [outside]:
        checker = _Checker(columns)
        checked = checker.visit(part)
        if checker.named == {"behaviour_score"}:
            terms.append(checked.sql)
    return " AND ".join(terms)


@lru_cache(maxsize=1024)
def event_value(text: str, kind: Literal["number", "text"]) -> str:
    """SQL of a number (null where there is none, never nan) or a text of one event.

    Raises Problem `bad_condition` when the expression is of another type.
    """
    checked = _Checker(EVENT_COLUMNS).visit(_parse(text))
    if checked.type != kind:
        raise _refused(f"{_article(kind)} is needed, this is {_article(checked.type)}")
    if kind == "text":
        return checked.sql
    return f"if(isNaN(ifNull({checked.sql}, nan)), NULL, toNullable({checked.sql}))"


def _parse(text: str) -> Any:
    """Syntax tree of one expression, within the limits of size and nesting."""
    if len(text) > MAX_CHARACTERS:
        raise _refused(f"longer than {MAX_CHARACTERS} characters")
    try:
        text.encode()
        tokens = sqlglot.tokenize(text, read="clickhouse")
        if len(tokens) > MAX_TOKENS:
            raise _refused(f"more than {MAX_TOKENS} words and signs")
        _check_nesting(token.text for token in tokens if not token.token_type.name.endswith("STRING"))
        return sqlglot.parse_one(text, read="clickhouse")
    except SqlglotError as error:
        raise _refused(_unreadable(error)) from error
    except RecursionError as error:
        raise _refused("nested too deeply") from error
    except UnicodeEncodeError as error:
        raise _refused("a lone surrogate") from error


def _check_nesting(words: Iterable[str]) -> None:
    depth = negations = 0
    for word in words:
        depth += (word in ("(", "[", "{")) - (word in (")", "]", "}"))
        negations = negations + 1 if word.upper() in ("NOT", "-") else 0
        if depth > MAX_NESTING or negations > 2:
            raise _refused("nested too deeply")


@dataclass(frozen=True, slots=True)
class _Typed:
    type: Type
    sql: str
    constant: str | None = None
    """Value of a literal."""


_COMPARISONS = {exp.EQ: "=", exp.NEQ: "!=", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_ARITHMETIC = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}
_FUNCTIONS = ("number", "lower", "upper", "trim", "length", "startsWith", "endsWith", "has")
_DECIMAL = re.compile(r"\d{1,12}(\.\d{0,6})?")


class _Checker:
    """Visits a tree node by node; what has no method here is not in the language."""

    def __init__(self, columns: Sequence[ConditionColumn]) -> None:
        self.columns = {column.name: column for column in columns}
        self.named: set[str] = set()
        self.traits: set[str] = set()
        self.thresholds: set[int] = set()
        self.visitors: dict[type, Callable[[Any], _Typed]] = {
            exp.And: self._logic, exp.Or: self._logic, exp.Not: self._not, exp.Paren: self._paren,
            exp.In: self._in, exp.Between: self._between, exp.Is: self._is,
            exp.Like: self._like, exp.ILike: self._like, exp.Neg: self._negative,
            exp.Literal: self._literal, exp.Boolean: self._boolean,
            exp.Column: self._column, exp.Bracket: self._bracket, exp.Anonymous: self._number,
            exp.Lower: self._text_function, exp.Upper: self._text_function, exp.Trim: self._text_function,
            exp.Length: self._length, exp.StartsWith: self._affix, exp.EndsWith: self._affix,
            exp.ArrayContains: self._has,
            **dict.fromkeys(_COMPARISONS, self._comparison), **dict.fromkeys(_ARITHMETIC, self._arithmetic),
        }  # fmt: skip

    def visit(self, node: Any) -> _Typed:
        visitor = self.visitors.get(type(node))
        if visitor is None:
            raise _refused(
                f"{type(node).__name__.upper()} is not in the condition language; it has AND, OR, NOT, "
                f"comparisons, IN, BETWEEN, LIKE, ILIKE, IS NULL, + - * / and {', '.join(_FUNCTIONS)}"
            )
        return visitor(node)

    def _logic(self, node: Any) -> _Typed:
        left, right = self._parts(node, "this", "expression")
        self._want("boolean", left, right)
        return _Typed("boolean", f"({left.sql} {'AND' if isinstance(node, exp.And) else 'OR'} {right.sql})")

    def _not(self, node: Any) -> _Typed:
        (inner,) = self._parts(node, "this")
        self._want("boolean", inner)
        return _Typed("boolean", f"(NOT {inner.sql})")

    def _paren(self, node: Any) -> _Typed:
        (inner,) = self._parts(node, "this")
        return inner

    def _comparison(self, node: Any) -> _Typed:
        left, right = self._parts(node, "this", "expression")
        left, right = self._comparable(left, right)
        return _Typed("boolean", f"({left.sql} {_COMPARISONS[type(node)]} {right.sql})")

    def _between(self, node: Any) -> _Typed:
        value, low, high = self._parts(node, "this", "low", "high")
        _, low = self._comparable(value, low)
        value, high = self._comparable(value, high)
        return _Typed("boolean", f"({value.sql} >= {low.sql} AND {value.sql} <= {high.sql})")

    def _in(self, node: Any) -> _Typed:
        _only(node, "this", "expressions")
        value, choices = self.visit(node.this), [self.visit(choice) for choice in node.expressions]
        if not choices or any(choice.constant is None for choice in choices):
            raise _refused("IN needs a list of constants: IN ('a', 'b')")
        self._want("text" if value.type == "text" else "number", value, *choices)
        return _Typed("boolean", f"({value.sql} IN ({', '.join(choice.sql for choice in choices)}))")

    def _is(self, node: Any) -> _Typed:
        _only(node, "this", "expression")
        if not isinstance(node.expression, exp.Null):
            raise _refused("IS is followed by NULL or NOT NULL")
        value = self.visit(node.this)
        self._want("number", value)
        return _Typed("boolean", f"({value.sql} IS NULL)")

    def _like(self, node: Any) -> _Typed:
        _only(node, "this", "expression", "negate")
        value, pattern = self.visit(node.this), self.visit(node.expression)
        self._want("text", value, pattern)
        if pattern.constant is None or re.fullmatch(r"(?s)(\\.|[^\\])*", pattern.constant) is None:
            raise _refused("LIKE needs a constant pattern that does not end in a single backslash")
        word = "LIKE" if isinstance(node, exp.Like) else "ILIKE"
        negation = "NOT " if node.args.get("negate") else ""
        return _Typed("boolean", f"({value.sql} {negation}{word} {pattern.sql})")

    def _arithmetic(self, node: Any) -> _Typed:
        left, right = (self.visit(node.args[part]) for part in ("this", "expression"))
        _only(node, "this", "expression", "typed", "safe")
        self._want("number", left, right)
        return _Typed("number", f"({left.sql} {_ARITHMETIC[type(node)]} {right.sql})")

    def _negative(self, node: Any) -> _Typed:
        (inner,) = self._parts(node, "this")
        self._want("number", inner)
        return _Typed("number", f"(-{inner.sql})", None if inner.constant is None else f"-{inner.constant}")

    def _literal(self, node: Any) -> _Typed:
        _only(node, "this", "is_string")
        if node.is_string:
            return _Typed("text", quote(node.this), node.this)
        if _DECIMAL.fullmatch(node.this) is None:
            raise _refused(f"{node.this} is not a number of at most 12 digits and 6 decimals")
        digits = node.this.rstrip(".")
        return _Typed("number", digits, digits)

    def _boolean(self, node: Any) -> _Typed:
        return _Typed("boolean", "1" if node.this else "0")

    def _column(self, node: Any) -> _Typed:
        column = self._known(node)
        if column.type in ("json", "map"):
            raise _refused(f"say which of the {column.name}: {column.name}['name']")
        sql = f"toFloat64({column.name})" if column.type == "number" else column.name
        return _Typed(column.type, sql)  # type: ignore[arg-type]  # json and map are refused above

    def _known(self, node: Any) -> ConditionColumn:
        """The listed column of a node, or a refusal that suggests one."""
        _only(node, "this")
        name = node.name if isinstance(node.this, exp.Identifier) else "*"
        if name in self.columns:
            self.named.add(name)
            return self.columns[name]
        if any(name == column.name for column in PROFILE_COLUMNS if column.level != "traits"):
            raise _refused(f"{name} is worked out later than what this condition decides")
        raise _refused(f"there is no column {name}{suggestion(name, self.columns)}")

    def _bracket(self, node: Any) -> _Typed:
        path: list[str] = []
        while isinstance(node, exp.Bracket):
            _only(node, "this", "expressions", "offset")
            key = node.expressions[0]
            if len(node.expressions) != 1 or not (isinstance(key, exp.Literal) and key.is_string):
                raise _refused("brackets hold one name in quotes: properties['url']")
            path.insert(0, key.this)
            node = node.this
        column = self._known(node) if isinstance(node, exp.Column) else None
        if column is None or column.type not in ("json", "map"):
            raise _refused("brackets follow properties, context or traits")
        if len(path) > (MAX_PATH if column.type == "json" else 1):
            raise _refused(f"too many names after {column.name}")
        keys = ", ".join(map(quote, path))
        if column.type == "map":
            self.traits.add(path[0])
            return _Typed("text", f"{column.name}[{keys}]")
        return _Typed("text", f"JSONExtractString({column.name}, {keys})")

    def _number(self, node: Any) -> _Typed:
        _only(node, "this", "expressions")
        if node.this != "number":
            raise _refused(f"there is no function {node.this}{suggestion(str(node.this), _FUNCTIONS)}")
        if len(node.expressions) != 1:
            raise _refused("number(...) takes one text")
        value = self.visit(node.expressions[0])
        self._want("text", value)
        return _Typed("number", f"toFloat64OrNull({value.sql})")

    def _text_function(self, node: Any) -> _Typed:
        (value,) = self._parts(node, "this")
        self._want("text", value)
        name = {exp.Lower: "lowerUTF8", exp.Upper: "upperUTF8", exp.Trim: "trimBoth"}[type(node)]
        return _Typed("text", f"{name}({value.sql})")

    def _length(self, node: Any) -> _Typed:
        _only(node, "this", "binary")
        value = self.visit(node.this)
        if value.type not in ("text", "texts"):
            raise _refused(f"length(...) takes a text or a list, not {_article(value.type)}")
        name = "lengthUTF8" if value.type == "text" else "length"
        return _Typed("number", f"toFloat64({name}({value.sql}))")

    def _affix(self, node: Any) -> _Typed:
        text, affix = self._parts(node, "this", "expression")
        self._want("text", text, affix)
        name = "startsWith" if isinstance(node, exp.StartsWith) else "endsWith"
        return _Typed("boolean", f"{name}({text.sql}, {affix.sql})")

    def _has(self, node: Any) -> _Typed:
        values, value = self._parts(node, "this", "expression")
        self._want("texts", values)
        self._want("text", value)
        return _Typed("boolean", f"has({values.sql}, {value.sql})")

    def _parts(self, node: Any, *names: str) -> list[_Typed]:
        """The checked arguments of a node that must have these and no others."""
        _only(node, *names)
        if any(node.args.get(name) is None for name in names):
            raise _refused("something is missing")
        return [self.visit(node.args[name]) for name in names]

    def _want(self, wanted: Type, *values: _Typed) -> None:
        for value in values:
            if value.type != wanted:
                hint = "; number(...) reads text as a number" if wanted == "number" else ""
                raise _refused(f"{value.sql} is {_article(value.type)}, {_article(wanted)} is needed{hint}")

    def _comparable(self, left: _Typed, right: _Typed) -> tuple[_Typed, _Typed]:
        """Both sides of a comparison; a score meets constants only, which become thousandths."""
        if left.type == right.type == "score":
            raise _refused("a score is compared with constants only")
        if "score" in (left.type, right.type):
            return self._as_score(left), self._as_score(right)
        self._want("text" if left.type == "text" else "number", left, right)
        return left, right

    def _as_score(self, side: _Typed) -> _Typed:
        if side.type == "score":
            return side
        if side.type != "number" or side.constant is None:
            raise _refused("a score is compared with constants only")
        sign, (whole, _, part) = side.constant.count("-") % 2, side.constant.lstrip("-").partition(".")
        if len(part.rstrip("0")) > 3:
            raise _refused("a score has at most three decimals")
        value = int(whole + (part + "000")[:3]) * (-1 if sign else 1)
        self.thresholds.add(value)
        return _Typed("score", str(value))


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean url?`, or the list of what is known when nothing is near."""
    names = list(known)
    near = get_close_matches(word, names, 1) or get_close_matches(word.lower(), names, 1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(names)}"


def _only(node: Any, *names: str) -> None:
    """Refuses a node that carries an argument beyond those named (OVER, DISTINCT, ESCAPE, GLOBAL, ...)."""
    extra = [name for name, value in node.args.items() if value and name not in names]
    if extra:
        raise _refused(f"{type(node).__name__.upper()} with {', '.join(extra)} is not in the language")


def _article(kind: str) -> str:
    return {"texts": "a list", "boolean": "true or false"}.get(kind, f"a {kind}")


def _unreadable(error: SqlglotError) -> str:
    """What is wrong with a text that is no expression, in words of the text and not of the parser."""
    if not isinstance(error, ParseError) or not error.errors:
        return "this cannot be read; is a quote not closed?"
    told = error.errors[0]
    place = f"{told['highlight']} at character {told['col']}"
    if told["description"].startswith("Expecting "):
        return f"{told['description'].removeprefix('Expecting ')} is missing behind {place}"
    if told["description"].startswith("Required "):
        return f"something is missing behind {place}"
    return f"{place} is not understood here"


def _refused(detail: str) -> Problem:
    return Problem("bad_condition", detail)
