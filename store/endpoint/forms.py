"""multipart/form-data taken apart: parameters and the files of external data."""

import re
from dataclasses import dataclass
from typing import Final

from store.endpoint.faults import refusal

_NAME: Final = re.compile(rb'\bname="((?:[^"\\]|\\.)*)"')
_FILE: Final = re.compile(rb'\bfilename="')
_BOUNDARY: Final = re.compile(r'boundary="?([^";]+)"?')


@dataclass(frozen=True, slots=True)
class Form:
    """Plain fields and uploaded files, by name."""

    fields: dict[str, bytes]
    files: dict[str, bytes]


def read_form(content_type: str, body: bytes) -> Form:
    """Fields and files of a multipart body. Raises Fault 36 where it is not one. O(len(body))."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise refusal(36, "BAD_ARGUMENTS", "The multipart body names no boundary")
    parts = (b"\r\n" + body).split(b"\r\n--" + found[1].encode())
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise refusal(36, "BAD_ARGUMENTS", "The multipart body is cut off")
    form = Form({}, {})
    for part in parts[1:-1]:
        head, blank, content = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if not blank or name is None:
            raise refusal(36, "BAD_ARGUMENTS", "A part of the multipart body has no name")
        target = form.files if _FILE.search(head) else form.fields
        target[name[1].decode()] = content
    return form
