"""The gate in front of the analyst's login: what may be asked is listed, everything else is refused.

The engine's read-only mode leaves a scalar function that reads any file, and its table functions, other databases and
settings are nobody's business but ours. Invariant: a statement passes only if the engine's own parser understood it as
one statement, each node of its tree is of a listed kind, and each function, table and format in it is listed; what is
run is the text that was judged. Nothing of a statement is evaluated to judge it (EXPLAIN QUERY TREE would fold
constants, and so read files; EXPLAIN AST does not).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import sqlglot
from chdb.state.sqlitelike import Connection

from store.endpoint.faults import Fault, refusal
from store.endpoint.sessions import quoted

DATABASE: Final = "kintsugi"
"""What analysts see: the public views."""

LIMITS: Final = {
    "max_execution_time": "60",
    "timeout_before_checking_execution_speed": "0",
    "max_memory_usage": "2000000000",
    "max_result_rows": "1000000",
    "max_result_bytes": "1000000000",
    "max_threads": "2",
    "readonly": "1",
}
"""Settings of every analyst's statement; no statement and no request changes one."""

ANALYSTS_SETTINGS: Final = re.compile(
    r"output_format_(json|csv|tsv|pretty|arrow|parquet|native)_\w+|date_time_output_format"
)
"""Settings that an analyst's request may choose: how a result looks."""

_SYSTEM_TABLES: Final = frozenset(
    f"system.{name}"
    for name in ("one", "settings", "databases", "tables", "columns", "functions", "table_engines",
                 "data_type_families", "formats", "time_zones", "table_functions", "aggregate_function_combinators",
                 "build_options")
)  # fmt: skip
"""What drivers look at when they connect and complete names: descriptions, no data."""

_CATEGORIES: Final = (
    "Aggregate Functions", "Arithmetic", "Arrays", "Bit", "Bitmap", "Comparison", "Conditional", "Dates and Times",
    "Distance", "Encoding", "Financial", "Geo", "Hash", "IP Address", "JSON", "Logical", "Map", "Mathematical", "Null",
    "Random Number", "Rounding", "String", "String Replacement", "String Search", "String Splitting", "Time Window",
    "Tuple", "Type Conversion", "URL", "UUID",
)  # fmt: skip
_FUNCTIONS_TOO: Final = frozenset((
    "lambda", "_CAST", "exists", "grouping", "countDistinct", "caseWithExpression", "caseWithExpr",
    "caseWithoutExpression", "version", "revision", "displayName", "currentDatabase", "currentUser", "uptime",
    "toTypeName", "identity", "materialize", "ignore", "transform", "bar", "formatReadableSize",
    "formatReadableDecimalSize", "formatReadableQuantity", "formatReadableTimeDelta", "byteSize",
    "rowNumberInAllBlocks", "runningDifference", "neighbor", "finalizeAggregation", "variantType",
    "variantElement", "isConstant",
))  # fmt: skip
_NOT_FUNCTIONS: Final = frozenset((
    "chdb", "formatRow", "formatRowNoNewline", "flameGraph", "aggThrow", "estimateCompressionRatio",
    "arrayReduce", "arrayReduceInRanges", "initializeAggregation",
))  # fmt: skip
"""Of listed categories, yet about the process, its formats or functions named in strings."""
_COLUMNS: Final = frozenset(("database", "user"))
"""Not listed, harmless, and names of columns."""
_TABLE_FUNCTIONS: Final = frozenset(("numbers", "zeros", "generate_series", "generateSeries"))

_NODES: Final = frozenset((
    "SelectWithUnionQuery", "SelectIntersectExceptQuery", "SelectQuery", "ExpressionList", "Identifier", "Literal",
    "Function", "TablesInSelectQuery", "TablesInSelectQueryElement", "TableExpression", "TableIdentifier", "TableJoin",
    "ArrayJoin", "Subquery", "Asterisk", "QualifiedAsterisk", "OrderByElement", "InterpolateElement", "WithElement",
    "WindowDefinition", "WindowListElement", "ColumnsTransformerList", "ColumnsExceptTransformer",
    "ColumnsReplaceTransformer", "ColumnsReplaceTransformer::Replacement", "ColumnsRegexpMatcher", "ColumnsListMatcher",
    "QualifiedColumnsRegexpMatcher", "QualifiedColumnsListMatcher", "SampleRatio", "DescribeQuery", "ExistsTableQuery",
))  # fmt: skip
_STATEMENTS: Final = frozenset(("SelectWithUnionQuery", "DescribeQuery", "ExistsTableQuery"))
_SHOW: Final = re.compile(
    rf"SHOW (FULL )?(TABLES|DATABASES)( FROM {DATABASE})?( (NOT )?I?LIKE '([^'\\]|\\.)*')?( FORMAT \w+)?"
)
_FORMATS: Final = re.compile(
    r"TSV\w*|TabSeparated\w*|CSV\w*|JSON\w*|Pretty\w*|Vertical|Values|Markdown|XML|RowBinary\w*|Native|Arrow(Stream)?"
    r"|Parquet|Null|CustomSeparated\w*|SQLInsert|BSONEachRow"
)
_FORBIDDEN_WORDS: Final = frozenset(("OUTFILE", "INFILE", "APPLY"))
_MOST_BYTES: Final = 100_000
_LINE: Final = re.compile(r"( *)(\S+)(?: (.*?))?(?: \(alias .*\))?(?: \(children \d+\))?")


class _Node(NamedTuple):
    kind: str
    name: str
    parent: str
    """Kind of the node above."""
    is_output: bool
    """Whether it says what becomes of the result."""


class Gate:
    """Judges statements. `functions`: those that may be called, `forbidden`: the engine's others, in lower case."""

    def __init__(
        self,
        functions: frozenset[str],
        case_insensitive: frozenset[str],
        forbidden: frozenset[str],
        combinators: tuple[str, ...],
    ) -> None:
        self._functions = functions
        self._case_insensitive = case_insensitive
        self._forbidden = forbidden
        self._combinators = combinators

    @classmethod
    def of(cls, connection: Connection) -> "Gate":
        """A gate with the functions of the listed categories that this engine has."""
        names = ", ".join(quoted(category) for category in _CATEGORIES)
        listed = (
            f"name IN (SELECT name FROM system.functions WHERE categories IN ({names}) AND origin = 'System')"
        )
        rows = _read(
            connection,
            f"SELECT name, case_insensitive, {listed} OR alias_to IN"
            f" (SELECT name FROM system.functions WHERE {listed}) FROM system.functions",
        )
        known = [row.split("\t") for row in rows.splitlines()]
        allowed = {name for name, _, is_listed in known if is_listed == "1" and not name.startswith("_")}
        allowed = (allowed - _NOT_FUNCTIONS) | _FUNCTIONS_TOO
        insensitive = {
            name.lower() for name, is_insensitive, _ in known if name in allowed and is_insensitive == "1"
        }
        forbidden = {name.lower() for name, _, _ in known if name not in allowed} - insensitive - _COLUMNS
        combinators = _read(connection, "SELECT name FROM system.aggregate_function_combinators").split()
        return cls(
            frozenset(allowed),
            frozenset(insensitive),
            frozenset(forbidden) - {name.lower() for name in allowed},
            tuple(combinators),
        )

    def judge(self, connection: Connection, sql: str, parameters: Mapping[str, str]) -> str:
        """The statement as it may be run, in the parser's own spelling. Raises Fault 497 or the parser's own."""
        if len(sql) > _MOST_BYTES:
            raise refusal(62, "SYNTAX_ERROR", "The statement is too long")
        one = _read(connection, f"SELECT formatQuerySingleLine({quoted(sql)})").rstrip("\n")
        self._judge_words(one)
        if one.startswith("SHOW "):
            if not _SHOW.fullmatch(one):
                raise _denied(f"this SHOW; there is SHOW TABLES and SHOW DATABASES of {DATABASE}")
            return one
        tree = _read(connection, f"EXPLAIN AST {one}", parameters)
        others = set(_read(connection, "SELECT name FROM system.databases").split()) - {DATABASE}
        for index, node in enumerate(_nodes(tree)):
            if index == 0 and node.kind not in _STATEMENTS:
                raise _denied(f"statements of the kind {node.kind}")
            if node.kind not in _NODES:
                raise _denied(f"{node.kind} in a statement")
            self._judge_node(node, others)
        return one

    def _judge_words(self, one: str) -> None:
        """Raises Fault for words that read or write files or name a function that is not listed, wherever they stand
        (`arrayMap(file, x)` calls it too), and for names that could not be told from a tree's lines.
        """
        try:
            tokens = sqlglot.tokenize(one, read="clickhouse")
        except sqlglot.errors.TokenError:
            raise _denied("what cannot be read with certainty") from None
        for token in tokens:
            if token.token_type == sqlglot.TokenType.STRING:
                continue
            if token.text.upper() in _FORBIDDEN_WORDS or token.text.lower() in self._forbidden:
                raise _denied(f"the word {token.text}")
            if token.token_type == sqlglot.TokenType.IDENTIFIER and not token.text.isprintable():
                raise _denied("names with control characters")

    def _judge_node(self, node: _Node, others: set[str]) -> None:
        """`others` are the databases that analysts do not read."""
        first, dot, _ = node.name.partition(".")
        if node.kind == "Function" and not self._may_call(node):
            raise _denied(f"the function {node.name}")
        if node.kind == "TableIdentifier" and dot and first != DATABASE and node.name not in _SYSTEM_TABLES:
            raise _denied(f"the table {node.name}")
        if node.kind == "ExistsTableQuery" and node.name.partition(" ")[0] not in ("", DATABASE):
            raise _denied(f"the table {node.name}")
        if node.kind == "Identifier" and node.is_output:
            judge_format(node.name)
        elif node.kind == "Identifier" and (
            node.name.lower() in self._forbidden or (dot and first in others)
        ):
            raise _denied(f"the name {node.name}")  # `x IN database.table` reads a table by such a name
        if node.kind == "Literal" and node.is_output:
            raise _denied("a file for the result")

    def _may_call(self, node: _Node) -> bool:
        if node.parent != "TableExpression":
            return self._is_listed(node.name)
        # behind the name of our database stands a view with parameters, never a table function
        return node.name in _TABLE_FUNCTIONS or node.name.startswith(f"{DATABASE}.")

    def _is_listed(self, name: str) -> bool:
        if name in self._functions or name.lower() in self._case_insensitive:
            return True
        for combinator in self._combinators:
            if (
                name.endswith(combinator)
                and name != combinator
                and combinator not in ("State", "SimpleState")
            ):
                return self._is_listed(name[: -len(combinator)])
        return False


def judge_format(name: str) -> None:
    """Raises Fault 497 for a result format that is not listed."""
    if not _FORMATS.fullmatch(name):
        raise _denied(f"the format {name}")


def _nodes(tree: str) -> Iterator[_Node]:
    """Nodes of EXPLAIN AST's text, from the top; a line that is none becomes a node of no listed kind."""
    above: list[str] = []
    for line in filter(None, tree.splitlines()):
        found = _LINE.fullmatch(line)
        if found is None:
            yield _Node(line[:40], "", "", False)
            continue
        depth = len(found[1])
        del above[depth:]
        kind, name = found[2], found[3] or ""
        # what stands right below a SELECT of the top is what becomes of its result: FORMAT, INTO OUTFILE
        yield _Node(kind, name, above[-1] if above else "", above == ["SelectWithUnionQuery"])
        above.append(kind)


def _read(connection: Connection, sql: str, parameters: Mapping[str, str] | None = None) -> str:
    return str(connection.query(sql, "TSVRaw", params=dict(parameters or {})).bytes().decode())


def _denied(what: str) -> Fault:
    return refusal(497, "ACCESS_DENIED", f"analyst: not enough privileges for {what}")
