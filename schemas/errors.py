"""The one list of error codes: stable name, HTTP status where it is the answer of a request, what to do.

Invariant: a code never changes its meaning and is never reused. A bad event inside a readable request is a
*reject* that carries the code and a JSON pointer; only what cannot be read at all is answered with the status.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One entry: `status` is what an endpoint answers when the code is the whole answer."""

    name: str
    status: int
    meaning: str


_ENTRIES = (
    # what makes a whole request unreadable
    ErrorCode(
        "bad_json", 400, "The body is not one JSON value in UTF-8; the offset says where reading stopped."
    ),
    ErrorCode("bad_encoding", 400, "The body does not decompress as its Content-Encoding says."),
    ErrorCode("body_too_large", 413, "The body is over the size cap, as sent or once decompressed."),
    ErrorCode("unknown_key", 401, "No workspace has this key, or it was revoked."),
    ErrorCode("wrong_scope", 403, "The key is known but does not allow this call."),
    ErrorCode(
        "too_many_requests",
        429,
        "This key, or this address without a valid key, calls too often; retry after the given seconds.",
    ),
    ErrorCode("overloaded", 429, "The log cannot take more at the moment; retry after the given seconds."),
    # what makes one event a reject
    ErrorCode("not_an_object", 422, "An event must be a JSON object."),
    ErrorCode("not_a_list", 422, "The batch of a request must be a list of events."),
    ErrorCode("missing_type", 422, "The event has no type and the path does not give one."),
    ErrorCode("unknown_type", 422, "The type is none of track, identify, page, screen, group, alias."),
    ErrorCode("missing_field", 422, "A field that this type of event needs is absent."),
    ErrorCode(
        "missing_identity", 422, "The event carries no identifier: no userId, anonymousId or externalIds."
    ),
    ErrorCode("wrong_type", 422, "A field has a type that the table of coercions does not admit."),
    ErrorCode("too_deep", 422, "The event is nested deeper than 32 levels."),
    ErrorCode("too_many_keys", 422, "The event holds more than 1,000 keys."),
    ErrorCode("key_too_long", 422, "A key is longer than 256 bytes."),
    ErrorCode("dup_key", 422, "An object holds the same key twice, so nobody can say which value is meant."),
    ErrorCode("too_many_identifiers", 422, "The event carries more than 16 identifiers."),
    ErrorCode("bad_number", 422, "A number is out of range."),
    ErrorCode("bad_text", 422, "A text holds a lone surrogate."),
    ErrorCode("event_too_large", 422, "The event is larger than 256 KB."),
    ErrorCode("batch_too_long", 422, "The batch holds more than 2,500 events; this one is beyond."),
    ErrorCode("bad_timestamp", 422, "The timestamp is not ISO 8601."),
    ErrorCode("ts_out_of_range", 422, "The event time lies before 1970 or after 2099."),
    ErrorCode(
        "unknown_namespace", 422, "An identifier names a namespace that the workspace does not declare."
    ),
    ErrorCode("missing_scope", 422, "The namespace is scoped and the identifier gives no scope."),
    ErrorCode("corrupt_record", 422, "A log record does not match its checksum or its format."),
    # the query API and the command line
    ErrorCode("unknown_profile", 404, "No identifier with this id was ever seen in the workspace."),
    ErrorCode("unknown_override", 404, "No override of this id is recorded; a new one takes a moment."),
    ErrorCode(
        "override_ended",
        409,
        "The override no longer stands: withdrawn, or followed by a newer one of its pair.",
    ),
    ErrorCode(
        "cannot_merge",
        409,
        "Force-links cannot make them one: a never-link forbids it, or one does not cluster.",
    ),
    ErrorCode(
        "key_in_url",
        400,
        "A live key stands in the URL, which others keep; send it in the header Authorization, and revoke this one.",
    ),
    ErrorCode("region_too_large", 422, "Too many identifiers hang together for an answer on demand."),
    ErrorCode("unknown_segment", 404, "The rules in force have no segment of this name."),
    ErrorCode("unknown_stage", 422, "The rules in force declare no stage of this name."),
    ErrorCode("unknown_workspace", 404, "There is no workspace of this name."),
    ErrorCode("bad_request", 422, "The request does not have the form that the reference describes."),
    ErrorCode("too_many_items", 422, "The request holds more items than one call may."),
    ErrorCode("store_unavailable", 503, "The store does not answer; the answer is not known right now."),
    ErrorCode("bad_rules", 422, "A rules file is not valid; the message names line and column."),
    ErrorCode("bad_condition", 422, "A condition uses something outside the condition language."),
)

ERRORS = {entry.name: entry for entry in _ENTRIES}


class Problem(Exception):  # noqa: N818 - named for the fact, as its field `code` is
    """A refusal with a stable code; `pointer` is a JSON pointer or `line:column`, `detail` a sentence for people.

    Raised at the borders only (collector, query API, command line, rules files); inside, refused data is data.
    """

    def __init__(self, code: str, detail: str = "", pointer: str = "") -> None:
        super().__init__(f"{code}{f' at {pointer}' if pointer else ''}: {detail or ERRORS[code].meaning}")
        self.code = code
        self.detail = detail or ERRORS[code].meaning
        self.pointer = pointer

    @property
    def status(self) -> int:
        """HTTP status when this problem is the whole answer."""
        return ERRORS[self.code].status
