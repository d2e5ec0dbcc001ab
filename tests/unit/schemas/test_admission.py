"""Promises of admission: one canonical form, one code per fault, nothing but Problem ever escapes."""

import copy
import json
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.admission import MAX_EVENT_BYTES
from schemas.errors import Problem
from schemas.events import Event, admit, read
from schemas.log_record import Events, decode, encode, to_ascii

TRACK: dict[str, Any] = {
    "type": "track",
    "event": "Page Viewed",
    "userId": "u1",
    "messageId": "m1",
    "timestamp": "2026-01-02T03:04:05.678Z",
    "properties": {"url": "https://example.com/pricing", "价格": 12.5, "tags": ["a", {"b": None}]},
    "context": {"library": {"name": "analytics.js"}, "userAgent": "Mozilla", "campaign": {"source": "baidu"}},
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
any_events = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify", "page", "group", "alias"]) | json_values},
    optional={
        name: json_values | st.text(max_size=4)
        for name in (
            "userId",
            "anonymousId",
            "previousId",
            "groupId",
            "event",
            "messageId",
            "timestamp",
            "properties",
        )
    }
    | {
        "traits": json_values | st.dictionaries(st.sampled_from(["phone", "mobile", "email"]), json_values),
        "context": json_values
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("traits", "campaign", "page", "userAgent", "externalIds"), json_values)
            | {
                "externalId": st.lists(st.dictionaries(st.sampled_from(["id", "type", "scope"]), json_values))
            },
        ),
    },
)


def code_of(body: Any, **more: Any) -> tuple[str, str]:
    with pytest.raises(Problem) as caught:
        admit(body, **more)
    return caught.value.code, caught.value.pointer


def shuffled(value: Any, random: Any) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key], random) for key in keys}
    return [shuffled(item, random) for item in value] if isinstance(value, list) else value


@given(st.randoms(use_true_random=False), st.sampled_from([None, 1, 4]), st.text(max_size=5))
def test_the_same_event_has_the_same_bytes_in_any_order_spacing_and_attempt(
    random: Any, indent: Any, sent_at: Any
) -> None:
    again = {**shuffled(TRACK, random), "sentAt": sent_at, "writeKey": "k", "_metadata": {"x": sent_at}}
    text = json.dumps(again, indent=indent, ensure_ascii=indent is None).encode()
    assert bytes(admit(read(text)).e) == bytes(admit(TRACK).e)


@settings(max_examples=400, deadline=None)
@given(any_events)
def test_whatever_is_admitted_decodes_as_an_event_and_nothing_but_a_problem_is_raised(body: Any) -> None:
    before = copy.deepcopy(body)
    try:
        item = admit(body)
    except Problem:
        return
    finally:
        assert repr(body) == repr(before)
    msgspec.json.decode(item.e, type=Event)
    data = bytes(item.e)
    assert data.isascii()
    assert data == bytes(admit(read(data)).e)
    record = Events(workspace="w", source="s", received_at=1, key_generation=1, batch=[item])
    assert bytes(decode(encode(record)).batch[0].e) == data


@given(st.text(max_size=40))
def test_the_ascii_form_says_the_same(text: Any) -> None:
    value = {"a": text, text: "\\" + text + '"'}
    found = to_ascii(orjson.dumps(value))
    assert found.isascii()
    assert json.loads(found) == value


def test_what_is_about_transport_goes_and_sent_at_is_kept_beside_the_body() -> None:
    item = admit(
        {**TRACK, "sentAt": "2026-01-02T03:04:06Z", "writeKey": "k", "receivedAt": "x", "_metadata": {}}
    )
    assert bytes(item.e) == bytes(admit(TRACK).e)
    assert item.s == "2026-01-02T03:04:06Z"
    assert admit(TRACK, sent_at="later").s == "later"


def test_the_batch_context_goes_under_that_of_the_event() -> None:
    item = admit(
        {**TRACK, "context": {"locale": "zh"}}, batch_context={"locale": "en", "library": {"name": "go"}}
    )
    assert orjson.loads(bytes(item.e))["context"] == {"locale": "zh", "library": {"name": "go"}}


@pytest.mark.parametrize("nothing", [None, ""])
def test_empty_ids_and_times_are_absent(nothing: Any) -> None:
    body = {**TRACK, "anonymousId": nothing, "groupId": nothing, "originalTimestamp": nothing, "traits": None}
    assert bytes(admit(body).e) == bytes(admit(TRACK).e)
    assert code_of({**TRACK, "userId": nothing}) == ("missing_identity", "")


@pytest.mark.parametrize(("number", "text"), [(42, "42"), (13800138000, "13800138000"), (42.0, "42")])
def test_whole_numbers_become_text_in_ids_and_phones(number: Any, text: Any) -> None:
    body = {
        "type": "identify",
        "userId": number,
        "traits": {"phone": number},
        "context": {"traits": {"mobile": number}, "externalIds": [{"id": number, "type": "crm_id"}]},
    }
    event = msgspec.json.decode(admit(body).e, type=Event)
    assert event.userId == event.traits["phone"] == event.context.traits["mobile"] == text
    assert event.context.externalIds[0]["id"] == text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": None}, ("missing_type", "/type")),
        ({"type": "Track"}, ("unknown_type", "/type")),
        ({"type": 5}, ("wrong_type", "/type")),
        ({"event": None}, ("missing_field", "/event")),
        ({"event": ["x"]}, ("wrong_type", "/event")),
        ({"type": "alias"}, ("missing_field", "/previousId")),
        (
            {"type": "alias", "userId": None, "anonymousId": "a", "previousId": "p"},
            ("missing_field", "/userId"),
        ),
        ({"type": "group"}, ("missing_field", "/groupId")),
        ({"userId": True}, ("wrong_type", "/userId")),
        ({"userId": {"a": 1}}, ("wrong_type", "/userId")),
        ({"userId": 1.5}, ("wrong_type", "/userId")),
        ({"properties": []}, ("wrong_type", "/properties")),
        ({"traits": "x"}, ("wrong_type", "/traits")),
        ({"traits": {"email": ["a@b.com"]}}, ("wrong_type", "/traits/email")),
        ({"traits": {"phone": {}}}, ("wrong_type", "/traits/phone")),
        ({"context": {"traits": {"phone": True}}}, ("wrong_type", "/context/traits/phone")),
        ({"context": {"externalIds": {}}}, ("wrong_type", "/context/externalIds")),
        ({"context": {"externalIds": [{"id": []}]}}, ("wrong_type", "/context/externalIds/0/type")),
        ({"context": {"externalId": [{"id": [], "type": "x"}]}}, ("wrong_type", "/context/externalId/0/id")),
        ({"timestamp": 1767323045}, ("wrong_type", "/timestamp")),
        ({"timestamp": "yesterday"}, ("bad_timestamp", "/timestamp")),
        ({"timestamp": "1969-12-31T23:59:59Z"}, ("ts_out_of_range", "/timestamp")),
        ({"timestamp": None, "originalTimestamp": "2100-01-01"}, ("ts_out_of_range", "/originalTimestamp")),
        ({"properties": {"a/b": float("nan")}}, ("bad_number", "/properties/a~1b")),
        ({"properties": {"a": 2**64}}, ("bad_number", "/properties/a")),
        ({"properties": {"a": ["\ud800"]}}, ("bad_text", "/properties/a/0")),
        ({"properties": {"k" * 257: 1}}, ("key_too_long", "/properties")),
        ({"properties": {"键" * 86: 1}}, ("key_too_long", "/properties")),
        ({"properties": {'"' * 257: 1}}, ("key_too_long", "/properties")),
        ({"properties": {str(i): i for i in range(1001)}}, ("too_many_keys", "")),
        ({"properties": {"a": "x" * MAX_EVENT_BYTES}}, ("event_too_large", "")),
    ],
)
def test_each_fault_has_its_code_and_pointer(change: Any, expected: Any) -> None:
    assert code_of({**TRACK, **change}) == expected


@pytest.mark.parametrize("body", [[], "x", 5, None, [TRACK]])
def test_only_an_object_is_an_event(body: Any) -> None:
    assert code_of(body) == ("not_an_object", "")


@pytest.mark.parametrize("levels", [31, 40, 300, 2000])
def test_events_may_be_32_levels_deep(levels: Any) -> None:
    raw = b'{"type":"track","event":"e","userId":"u","x":' + b"[" * levels + b"]" * levels + b"}"
    if levels == 31:
        admit(read(raw))
        return
    with pytest.raises(Problem) as caught:
        admit(read(raw))
    assert caught.value.code == "too_deep"


def test_limits_are_about_shape_not_about_what_texts_hold() -> None:
    text = "{[" * 100 + '":' * 2000 + '"' * 300 + "null \\u0000"
    item = admit({**TRACK, "properties": {"a": text, "k" * 256: [{}] * 40}})
    assert orjson.loads(bytes(item.e))["properties"]["a"] == text


def test_nul_is_removed_everywhere_and_emoji_stay() -> None:
    item = admit({**TRACK, "userId": "u\x001", "properties": {"a\0": ["x\0y", "😀"]}})
    body = orjson.loads(bytes(item.e))
    assert body["userId"] == "u1"
    assert body["properties"] == {"a": ["xy", "😀"]}


def test_at_most_16_identifiers() -> None:
    def body(count: int) -> dict[str, Any]:
        ids = [{"id": str(i), "type": "crm_id"} for i in range(count)]
        return {
            **TRACK,
            "anonymousId": "a",
            "traits": {"email": "a@b.com"},
            "context": {"externalIds": ids * 2},
        }

    admit(body(13))
    assert code_of(body(14)) == ("too_many_identifiers", "")


def test_an_external_id_is_identity_enough_and_an_empty_one_is_none() -> None:
    body = {
        "type": "track",
        "event": "e",
        "context": {"externalId": [{"id": "o1", "type": "wechat_unionid"}]},
    }
    admit(body)
    body["context"] = {"externalId": [{"id": "", "type": "wechat_unionid"}]}
    assert code_of(body) == ("missing_identity", "")


def test_the_path_says_the_type_where_the_body_does_not() -> None:
    assert orjson.loads(bytes(admit({"userId": "u"}, default_type="page").e))["type"] == "page"
    assert orjson.loads(bytes(admit({**TRACK}, default_type="page").e))["type"] == "track"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", "bad_json"),
        (b'{"a":"\\ud800"}', "bad_text"),
        (b'{"a":NaN}', "bad_number"),
        (b"1e999", "bad_number"),
        (b"1" * 10**6, "bad_number"),
        (b"[" * 100_000, "too_deep"),
    ],
)
def test_reading_tells_what_is_wrong_with_the_bytes(raw: Any, code: Any) -> None:
    with pytest.raises(Problem) as caught:
        read(raw)
    assert caught.value.code == code


def test_no_detail_repeats_what_the_client_sent() -> None:
    for change in (
        {"userId": ["SECRET"]},
        {"timestamp": "SECRET"},
        {"type": "SECRET"},
        {"event": {"SECRET": 1}},
    ):
        with pytest.raises(Problem) as caught:
            admit({**TRACK, **change})
        assert "SECRET" not in str(caught.value)


plain_text = st.text(max_size=5) | st.sampled_from(
    ["a", "a:b", '":', "\\", '\\":', '"', "\\u003a", "键", "/", "~"]
)
scalars = st.sampled_from(["0", "1.50", "true", "null", "-1e3", "12345678901234567890"])
blanks = st.sampled_from(["", "", " ", "\n\t"])


@st.composite
def spelled(draw: st.DrawFn, text: str) -> str:
    """One spelling of a JSON text: every character as it is, or escaped in one of the ways there are."""
    written = json.dumps(text, ensure_ascii=draw(st.booleans()))[1:-1]
    if text.isascii() and draw(st.integers(0, 3)) == 0:
        escape = "\\u%04x" if draw(st.booleans()) else "\\u%04X"
        written = "".join(escape % ord(c) for c in text)
    return f'"{written}"'


@st.composite
def json_texts(draw: st.DrawFn, depth: int = 3) -> str:
    """A JSON text in any spelling and spacing, with keys that stand twice more often than not."""
    kind = draw(st.sampled_from(["scalar", "text", "list", "object", "object"])) if depth else "scalar"
    if kind == "scalar":
        return draw(scalars)
    if kind == "text":
        return draw(spelled(draw(plain_text)))
    items = [draw(json_texts(depth - 1)) for _ in range(draw(st.integers(0, 3)))]
    if kind == "object":
        names = [draw(plain_text) for _ in items]
        if len(names) > 1 and draw(st.integers(0, 5)) == 0:
            names[-1] = names[0]
        items = [
            f"{draw(spelled(name))}{draw(blanks)}:{draw(blanks)}{item}"
            for name, item in zip(names, items, strict=True)
        ]
    inside = f"{draw(blanks)},{draw(blanks)}".join(items)
    return f"{{{draw(blanks)}{inside}}}" if kind == "object" else f"[{inside}{draw(blanks)}]"


def repeats(text: str) -> bool:
    """The oracle: whether Python's parser is ever handed two members of one name."""
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len({key for key, _ in pairs}) < len(pairs)

    json.loads(text, object_pairs_hook=look)
    return found


@settings(max_examples=800, deadline=None)
@given(json_texts())
def test_a_key_that_stands_twice_is_found_wherever_and_however_it_is_written(text: str) -> None:
    if repeats(text):
        with pytest.raises(Problem) as caught:
            read(text.encode())
        assert caught.value.code == "dup_key"
    else:
        assert read(text.encode()) == orjson.loads(text)


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b'{"a":1,"a":1}', "/a"),
        (b'{"a":1,"\\u0061":2}', "/a"),
        (b'{"a:b":1,"a\\u003ab":2,"c":"\\u003A\\u003a"}', "/a:b"),
        (b'{"x":"\\u003a","a":1,"a":2}', "/a"),
        (b'{"a":{"b":[1,{"c/d":1,"c~":{},"c~":2}]}}', "/a/b/1/c~0"),
        (b'{"a":{"b":1,"b":2},"c":1,"c":2}', "/c"),
        (b'[{"a":{"x":1}},{"a":1,"a":{"x":1}}]', "/1/a"),
        (b'{"":1,"":2}', "/"),
        (b'{"a":' * 300 + b'{"b":1,"b":2}' + b"}" * 300, "/a" * 300 + "/b"),
    ],
)
def test_a_repeated_key_has_a_pointer(raw: bytes, pointer: str) -> None:
    with pytest.raises(Problem) as caught:
        read(raw)
    assert (caught.value.code, caught.value.pointer) == ("dup_key", pointer)


@pytest.mark.parametrize("key", ["anna@example.com", "13800138000", "+86 138 00138000", "tel:010-88888888"])
@pytest.mark.parametrize("value", [b"NaN", b'"\\ud800"', b"1,%s:2"])
def test_a_pointer_does_not_name_a_key_that_is_a_value_of_someone(key: str, value: bytes) -> None:
    name = json.dumps(key).encode()
    raw = b'{"type":"page","userId":"u","properties":{"by":{%s:%s}}}' % (name, value.replace(b"%s", name))
    with pytest.raises(Problem) as caught:
        admit(read(raw))
    assert caught.value.pointer == "/properties/by/*"
    assert key not in str(caught.value)


def test_one_key_in_several_objects_is_no_repetition() -> None:
    raw = (
        b'{"a":{"a":[{"a":"a:a","b":"\\"a\\":"},{"a":"\\u003a"}]},"b":"{\\"b\\":1,\\"b\\":2}","\\\\u003a":1}'
    )
    assert read(raw) == json.loads(raw)
