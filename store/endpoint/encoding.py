"""Bodies packed and unpacked: gzip, deflate, zstd and lz4 frames, as named by Content-Encoding and
Accept-Encoding.
"""

import gzip
import io
import zlib
from typing import Final

import lz4.frame
import zstandard

from store.endpoint.faults import refusal

ENCODINGS: Final = ("lz4", "zstd", "gzip", "deflate")
"""What is understood both ways, in the order in which we choose for an answer."""

_SLICE: Final = 1 << 16
"""Packed bytes taken at once, so that a small body cannot grow far beyond the limit before it is stopped."""


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as its sender meant it, at most `limit` bytes (Fault 299 beyond); several frames in a row
    count as one.

    Raises Fault 344 for an encoding that is not known and 354 for bytes that do not unpack.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        raise refusal(344, "SUPPORT_IS_DISABLED", f"Content-Encoding {encoding} is not supported")
    try:
        plain = _UNPACK[encoding](body, limit + 1)
    except (zlib.error, EOFError, RuntimeError, OSError, zstandard.ZstdError) as error:
        raise refusal(354, "ZLIB_INFLATE_FAILED", f"The body is not {encoding}: {error}") from None
    if len(plain) > limit:
        raise refusal(299, "HTTP_LENGTH_REQUIRED", f"The body is larger than {limit} bytes when unpacked")
    return plain


def pack(body: bytes, encoding: str) -> bytes:
    """The body in an encoding out of ENCODINGS, at the speed-minded level of each."""
    match encoding:
        case "lz4":
            return bytes(lz4.frame.compress(body))
        case "zstd":
            return zstandard.ZstdCompressor(level=1).compress(body)
        case "gzip":
            return gzip.compress(body, compresslevel=1, mtime=0)
        case _:
            return zlib.compress(body, 1)


def chosen(accept_encoding: str) -> str:
    """The encoding for an answer, empty for none; a client that lists `identity` first wants none.

    >>> chosen("gzip, deflate"), chosen("identity"), chosen("zstd;q=0"), chosen("")
    ('gzip', '', '', '')
    """
    offered = [part.replace(" ", "") for part in accept_encoding.lower().split(",")]
    names = {part.split(";")[0] for part in offered if not part.endswith((";q=0", ";q=0.0"))}
    return "" if "identity" in names else next((name for name in ENCODINGS if name in names), "")


def _gunzip(body: bytes, most: int) -> bytes:
    return gzip.GzipFile(fileobj=io.BytesIO(body)).read(most)


def _inflate(body: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj()
    plain = unpacker.decompress(body, most)
    if not unpacker.eof and len(plain) < most:
        raise EOFError("it ends too early")
    return plain


def _unzstd(body: bytes, most: int) -> bytes:
    parts, size, start = [], 0, 0
    while start < len(body) and size < most:
        frame = zstandard.ZstdDecompressor().decompressobj()
        while not frame.eof and size < most:
            if start >= len(body):
                raise EOFError("it ends too early")
            parts.append(frame.decompress(body[start : start + _SLICE]))
            size += len(parts[-1])
            start += _SLICE
        start = min(start, len(body)) - len(frame.unused_data)
    return b"".join(parts)


def _unlz4(body: bytes, most: int) -> bytes:
    return bytes(lz4.frame.open(io.BytesIO(body)).read(most))


_UNPACK: Final = {"gzip": _gunzip, "deflate": _inflate, "zstd": _unzstd, "lz4": _unlz4}
