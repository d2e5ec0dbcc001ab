"""SQL read just far enough to run it: where it ends, where an INSERT's data begins, which format it names.

Only tokens are read; the engine alone judges grammar. Strings, quoted names, comments and heredocs are
skipped whole, so nothing inside them is ever mistaken for a statement's end or a keyword.
"""

import re
from dataclasses import dataclass
from typing import Final

from store.endpoint.faults import refusal

_TOKEN: Final = re.compile(
    rb"""
    (?: \s+ | --[^\n]* | \#[ !][^\n]* | /\*.*?\*/ )
  | (?P<literal> '[^'\\]*+(?:\\.[^'\\]*+)*+' | "[^"\\]*+(?:\\.[^"\\]*+)*+" | `[^`\\]*+(?:\\.[^`\\]*+)*+`
      | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | [0-9][\w.]* )
  | (?P<word>[A-Za-z_][\w$]*)
  | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_AFTER_FORMAT: Final = re.compile(rb"[ \t\f]*;?[ \t\f]*(?:\r?\n)?")
_ROWS: Final = frozenset(
    ["SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK", "KILL", "FROM"]
)
_INSERT_BODY: Final = frozenset(["VALUES", "SELECT", "WITH", "FROM", "WATCH", "INFILE"])


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `data` holds an INSERT's bytes, None where the statement has no data of its own."""

    text: str
    verb: str
    """First word, upper case; `(` statements count as SELECT."""
    format: str | None
    """Format named by the statement: of the result, or of an INSERT's data."""
    data: bytes | None = None

    @property
    def answers_with_rows(self) -> bool:
        """Whether the statement has a result."""
        return self.verb in _ROWS


def read(query: bytes, body: bytes) -> Statement:
    """The one statement of a request; `query` comes from the URL or a form field, `body` from the request's
    body.

    Without `query` the body is the SQL. With it the body is the data of an INSERT, or the statement's
    continuation. Raises Fault 62 for none or several statements, 48 for files of the server. O(length of the
    SQL).

    >>> read(b"", b"INSERT INTO t (a) FORMAT TSV\\n1\\n2\\n")
    Statement(text='INSERT INTO t (a) ', verb='INSERT', format='TSV', data=b'1\\n2\\n')
    """
    if not query:
        return _read(body, b"")
    statement = _read(query, body)
    if statement.data is None and body:
        return _read(query + b"\n" + body, b"")
    return statement


def _read(sql: bytes, body: bytes) -> Statement:
    """One statement out of `sql`; `body` follows the data of an INSERT ... FORMAT."""
    verb, depth, end, cut = "", 0, len(sql), 0
    named: str | None = None
    after_format = is_named = has_body = (
        False  # FORMAT was just read; its clause is complete; VALUES or SELECT seen
    )
    for token in _TOKEN.finditer(sql):
        kind = token.lastgroup
        if kind is None:
            continue
        if end < len(sql):
            raise refusal(62, "SYNTAX_ERROR", "Only one statement is allowed in a request")
        text = token.group()
        if kind != "word":
            if text == b";" and depth == 0:
                end = token.start()
                continue
            verb = verb or ("SELECT" if text == b"(" else "?")
            depth += (text in (b"(", b"[", b"{")) - (text in (b")", b"]", b"}"))
            after_format, named = False, named if is_named else None
        elif depth == 0:
            upper = text.decode().upper()
            verb = verb or upper
            if after_format:
                after_format, named = False, text.decode()
                if verb == "INSERT" and not has_body:
                    return Statement(_text(sql[:cut]), verb, named, _data(sql, token.end(), body))
            elif upper == "FORMAT":
                after_format, cut = True, token.start()
            elif upper in ("OUTFILE", "INFILE"):
                raise refusal(48, "NOT_IMPLEMENTED", "Files of the server cannot be read or written")
            elif upper in _INSERT_BODY:
                has_body, named = True, None
            elif upper in ("SETTINGS", "INTO"):
                is_named = named is not None
            elif not is_named:
                named = None  # `format` was a name here, not the clause
    if not verb:
        raise refusal(62, "SYNTAX_ERROR", "Empty query")
    return Statement(_text(sql[:end]), verb, named)


def _data(sql: bytes, start: int, body: bytes) -> bytes:
    """Data of an INSERT: what stands behind the format's name and one line break, then the body."""
    gap = _AFTER_FORMAT.match(sql, start)
    assert gap is not None
    rest = sql[gap.end() :]
    return rest + body if rest and body else rest or body


def _text(sql: bytes) -> str:
    try:
        return sql.decode()
    except UnicodeDecodeError as error:
        raise refusal(62, "SYNTAX_ERROR", f"The statement is not UTF-8 at byte {error.start}") from None
