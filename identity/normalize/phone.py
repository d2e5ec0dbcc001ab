"""Phone numbers in E.164, an extension after `;ext=`.

References: ITU-T E.164; RFC 3966 for the extension; the numbering plans are those of `phonenumbers`. New
Chinese mobile ranges are in use before any numbering plan lists them, so eleven digits that start with 1
always count.
"""

import re

import phonenumbers

from identity.normalize.exact import tidy

_CHINESE_MOBILE = re.compile(r"(?:\+86|0086|86)?(1[3-9]\d{9})")
_SHAPE = re.compile(
    r"(?P<number>\+?[\d\s().\-/·]{5,40}?)(?:\s*(?:;ext=|ext\.?|extension|x|#|转|分机)\s*:?(?P<ext>\d{1,7}))?",
    re.IGNORECASE,
)


def phone(value: str, region: str) -> str | None:
    """E.164 of a number written in `region` (ISO 3166); None when it is no number of any known plan.

    >>> phone("0086 138-0013-8000", "CN"), phone("021-6234 5678 转 90", "CN"), phone("call me", "CN")
    ('+8613800138000', '+862162345678;ext=90', None)
    """
    text = tidy(value)
    if (region == "CN" or text.startswith(("+", "00"))) and (mobile := _CHINESE_MOBILE.fullmatch(text)):
        return f"+86{mobile[1]}"
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        return None
    number = shape["number"].strip()
    if number.startswith("00"):  # the prefix for calls abroad nearly everywhere, whatever the region's own
        number = "+" + number[2:]
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None
    national = str(parsed.national_number)
    chinese = parsed.country_code == 86 and len(national) == 11 and national[0] == "1"
    if not chinese and not phonenumbers.is_valid_number(parsed):
        return None
    plain = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return f"{plain};ext={shape['ext']}" if shape["ext"] else plain
