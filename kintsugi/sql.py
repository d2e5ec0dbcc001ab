"""SELECTs of people against the store, answered in any format of ClickHouse, row by row as they come."""

from collections.abc import Iterator, Mapping

import httpx

from schemas.errors import Problem


def stream(access: Mapping[str, str], statement: str, output: str) -> Iterator[bytes]:
    """Bytes of the answer; read-only. Problem with the store's reason when it refuses."""
    settings = {"default_format": output, "readonly": "1"}
    headers = {"X-ClickHouse-User": access["user"], "X-ClickHouse-Key": access["token"]}
    try:
        with (
            httpx.Client(trust_env=False, timeout=httpx.Timeout(None, connect=5)) as http,
            http.stream(
                "POST", access["url"], params=settings, headers=headers, content=statement.encode()
            ) as answer,
        ):
            if answer.status_code != 200:
                told = answer.read().decode("utf-8", "replace").splitlines()
                raise Problem("bad_request", told[0] if told else f"the store answered {answer.status_code}")
            yield from answer.iter_bytes()
    except httpx.ConnectError as error:
        raise Problem("store_unavailable", f"{access['url']} does not answer: {error}") from None
    except httpx.RemoteProtocolError:
        raise Problem(
            "bad_request", "The store broke off its answer: the statement failed half way."
        ) from None
