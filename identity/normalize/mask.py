"""Masked forms, fit to be shown to whoever may not read personal data."""

import re

_E164 = re.compile(r"\+(\d{7,15})(?:;ext=\d+)?")


def mask(namespace: str, value: str) -> str:
    """What may be shown of a normal form: 138****8000, a***@x.com, of anything else the last four characters.

    Goes by the shape of the value, since a phone or an email is often somebody's user_id. Of a value of fewer
    than eight characters nothing is shown.

    >>> mask("phone", "+8613800138000"), mask("email", "anna@x.com"), mask("wechat_openid", "oABCDEF1234")
    ('138****8000', 'a***@x.com', '****1234')
    """
    number = _E164.fullmatch(value)
    if number or (namespace == "user_id" and re.fullmatch(r"1[3-9]\d{9}", value)):
        digits = number[1] if number else value
        if digits.startswith("86") and len(digits) == 13:
            digits = digits[2:]
        shown = 3 if len(digits) >= 10 else 1
        return f"{digits[:shown]}****{digits[-4:]}"
    local, at, domain = value.rpartition("@")
    if at and local:
        return f"{local[0]}***@{domain}"
    return f"****{value[-4:]}" if len(value) >= 8 else "****"
