"""Reading events from files: one JSON object per line, plain or gzip, from a path or standard input.

Invariant: every line that is not blank is handed on with its number, or refused with it; nothing is skipped
in silence. Memory holds one line.
"""

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, cast

from schemas.admission import MAX_TEXT_BYTES, read
from schemas.errors import Problem

_GZIP = b"\x1f\x8b"


class Line(NamedTuple):
    """One line of a source; `data` has no line end, and is cut at MAX_TEXT_BYTES where `is_cut`."""

    number: int
    data: bytes
    is_cut: bool


def lines(source: str) -> Iterator[Line]:
    """Lines of a file, or of standard input where `source` is `-`; blank ones are left out but counted.

    Gzip is known by its first bytes, not by the name. Raises OSError when the file cannot be read, Problem
    `bad_encoding` with the line where a gzip file is damaged or cut.
    """
    number = 0
    try:
        with _opened(source) as stream:
            while data := stream.readline(MAX_TEXT_BYTES + 1):
                number += 1
                is_cut = len(data) > MAX_TEXT_BYTES and not data.endswith(b"\n")
                if is_cut:
                    _skip_rest(stream)
                    data = data[:MAX_TEXT_BYTES]
                if number == 1:
                    data = data.removeprefix(b"\xef\xbb\xbf")
                if data := data.strip():
                    yield Line(number, data, is_cut)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Problem(
            "bad_encoding", f"the gzip file is damaged: {error}", f"{source}:{number + 1}"
        ) from error


def events(found: Iterator[Line], refuse: Callable[[Line, Problem], None]) -> Iterator[bytes]:
    """The lines that hold one JSON object, byte for byte; `refuse` gets the others with their problem.

    An object that holds a key twice is one: the collector keeps it as a reject.
    """
    for line in found:
        if problem := _problem(line):
            refuse(line, problem)
        else:
            yield line.data


def _problem(line: Line) -> Problem | None:
    if line.is_cut:
        return Problem("event_too_large", f"the line is longer than {MAX_TEXT_BYTES} bytes")
    try:
        read(line.data)
    except Problem as problem:
        if problem.code != "dup_key":
            return problem
    return None if line.data.startswith(b"{") else Problem("not_an_object")


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield _unzipped(cast(io.BufferedReader, sys.stdin.buffer))
    else:
        with open(source, "rb") as file:
            yield _unzipped(file)


def _unzipped(file: io.BufferedReader) -> BinaryIO:
    if file.peek(2)[:2] != _GZIP:
        return file
    return cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=file), 1 << 18))


def _skip_rest(stream: BinaryIO) -> None:
    while (data := stream.readline(1 << 16)) and not data.endswith(b"\n"):
        pass
