"""Read unified profiles: any identifier in, a golden record out.

    python docs/examples/read_profiles.py http://127.0.0.1:8401 kr_... phone="138 0013 8000" user_id=42

`kintsugi workspace create` prints a read key, `kintsugi status` the address. A key of scope `pii` shows
identifiers in the clear. Identifiers travel in the body of a POST, never in a URL.
"""

import os
import sys
from typing import Any

import httpx


def look_up(http: httpx.Client, wanted: list[tuple[str, str]]) -> dict[str, Any]:
    """Profiles of (namespace, value) pairs, up to 1,000 in one call."""
    body = {"identifiers": [{"namespace": namespace, "value": value} for namespace, value in wanted]}
    answer = http.post("/v1/profiles/lookup", json=body)
    if answer.is_error:
        problem = answer.json()
        sys.exit(f"{problem['code']} {problem.get('pointer', '')}: {problem['detail']}")
    found: dict[str, Any] = answer.json()
    return found


def show(item: dict[str, Any]) -> None:
    """One line for what is no person, a few lines for a profile."""
    profile = item["profile"]
    if profile is None:
        print(f"  {item['state']} {item['reason'] or ''}".rstrip())
        return
    print(f"  profile    {profile['profile_id']}  stage {profile['stage'] or '-'}")
    print(f"  behaviour  {profile['behaviour_score']:g}  {profile['behaviour_points']}")
    print(f"  fit        {profile['identity_score']:g}  {profile['identity_points']}")
    for identifier in profile["identifiers"]:
        print(f"  known as   {identifier['namespace']} {identifier['value']}")


def main(address: str, key: str, *pairs: str) -> None:
    """Look up `namespace=value` pairs and print what is known."""
    wanted = [(namespace, value) for namespace, _, value in (pair.partition("=") for pair in pairs)]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=address, headers=headers, trust_env="127.0.0.1" not in address) as http:
        found = look_up(http, wanted)
    print(f"as of {found['freshness']['as_of']}, ruleset {found['freshness']['ruleset']}")
    for (namespace, _), item in zip(wanted, found["items"], strict=True):
        print(namespace)
        show(item)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(f"usage: {os.path.basename(sys.argv[0])} ADDRESS READ_KEY NAMESPACE=VALUE ...")
    main(*sys.argv[1:])
