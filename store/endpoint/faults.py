"""What went wrong, as ClickHouse says it: a number, a name, a sentence, and an HTTP status for them."""

import re
from typing import Final

_CODE: Final = re.compile(r"Code: (\d+)\. .*", re.DOTALL)

STATUS: Final = {
    401: (194, 516),
    403: (164, 497),
    404: (46, 60, 81, 115),
    400: (6, 26, 27, 36, 38, 41, 43, 47, 53, 62, 69, 73, 117, 354, 456, 457),
    408: (159,),
    413: (299,),
    423: (373,),
    501: (48, 344),
    503: (202, 236),
}
_STATUS_OF: Final = {code: status for status, codes in STATUS.items() for code in codes}


class Fault(Exception):  # noqa: N818  # named for the fact
    """A statement that was not, or not fully, carried out; `code` is ClickHouse's number for the reason."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """HTTP status that ClickHouse gives this code; 500 for those it does not single out."""
        return _STATUS_OF.get(self.code, 500)


def refusal(code: int, name: str, sentence: str) -> Fault:
    """A fault of our own making, in the words of the engine.

    >>> str(refusal(62, "SYNTAX_ERROR", "One statement per request"))
    'Code: 62. DB::Exception: One statement per request. (SYNTAX_ERROR)'
    """
    return Fault(code, f"Code: {code}. DB::Exception: {sentence}. ({name})")


def from_engine(error: Exception) -> Fault:
    """The engine's own error; whatever carries no number becomes 1001, STD_EXCEPTION.

    >>> from_engine(RuntimeError("Streaming query failed: Code: 47. DB::Exception: ...")).code
    47
    """
    found = _CODE.search(str(error))
    if found is None:
        return Fault(1001, f"Code: 1001. DB::Exception: {type(error).__name__}: {error}. (STD_EXCEPTION)")
    return Fault(int(found[1]), found[0].strip())
