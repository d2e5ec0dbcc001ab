"""Flink's REST interface, the part that the supervisor and `status` use.

Invariant: nothing here decides anything; each method is one request and returns Flink's answer.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

_PYTHON = re.compile(r"^pemja\.core\.PythonException: <class '(?:\w+\.)*(\w+)'>: ")
_LONGEST = 400


class FlinkError(Exception):
    """Flink answered with an error; `reason` is its first line that says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FlinkRest:
    """Requests to one JobManager.

    Each raises httpx.TransportError where it does not answer and FlinkError where it refuses.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=10, trust_env=False)

    def close(self) -> None:
        """Release the connections."""
        self._http.close()

    def slots(self) -> int:
        """Task slots that are registered."""
        return int(self._get("/overview")["slots-total"])

    def jobs(self) -> list[dict[str, Any]]:
        """`jid`, `name`, `state`, ... of every job the JobManager knows."""
        return list(self._get("/jobs/overview")["jobs"])

    def job(self, job: str) -> dict[str, Any]:
        """`state`, `vertices` with their status, ... of a job."""
        return self._get(f"/jobs/{job}")

    def is_running(self, job: str) -> bool:
        """Whether the job and each of its vertices runs: the job's own state alone says so too early."""
        answer = self.job(job)
        tasks = [vertex["status"] for vertex in answer["vertices"]]
        return answer["state"] == "RUNNING" and bool(tasks) and set(tasks) == {"RUNNING"}

    def checkpoints(self, job: str) -> dict[str, Any]:
        """`counts`, `latest`, ... of a job's checkpoints."""
        return self._get(f"/jobs/{job}/checkpoints")

    def restarts(self, job: str) -> float:
        """How often the job restarted since it was submitted."""
        return _numbers(self._http.get(f"/jobs/{job}/metrics", params={"get": "numRestarts"}), "value").get(
            "numRestarts", 0.0
        )

    def busy_shares(self, job: str) -> dict[str, float]:
        """Step -> share of the last second in which its busiest instance worked."""
        shares = {}
        for vertex in self.job(job)["vertices"]:
            asked = {"get": "busyTimeMsPerSecond", "agg": "max"}
            told = _numbers(
                self._http.get(f"/jobs/{job}/vertices/{vertex['id']}/subtasks/metrics", params=asked), "max"
            )
            if "busyTimeMsPerSecond" in told:
                # a vertex of chained steps is named after all of them; the last is ours
                shares[str(vertex["name"]).rpartition("-> ")[2].strip()] = told["busyTimeMsPerSecond"] / 1000
        return shares

    def last_exception(self, job: str) -> tuple[int, str] | None:
        """(time in ms, root cause) of the newest failure, as Python or Java told it."""
        entries = self._failures(job)
        return (
            (int(entries[0]["timestamp"]), root_cause(entries[0].get("stacktrace", ""))) if entries else None
        )

    def last_trace(self, job: str) -> str:
        """Stack trace of the newest failure; empty when there was none."""
        entries = self._failures(job)
        return str(entries[0].get("stacktrace", "")) if entries else ""

    def _failures(self, job: str) -> list[dict[str, Any]]:
        return list(self._get(f"/jobs/{job}/exceptions").get("exceptionHistory", {}).get("entries", []))

    def submit(
        self,
        jar: Path,
        arguments: list[str],
        savepoint: str | None,
        allow_unclaimed: bool,
        configuration: Mapping[str, str],
    ) -> str:
        """Upload the jar and run PythonDriver with `arguments`; the id of the new job."""
        with jar.open("rb") as content:
            upload = self._http.post(
                "/jars/upload",
                files={"jarfile": (jar.name, content, "application/java-archive")},
                timeout=60,
            )
        uploaded = Path(_answer(upload)["filename"]).name
        body: dict[str, Any] = {
            "entryClass": "org.apache.flink.client.python.PythonDriver",
            "programArgsList": arguments,
            "allowNonRestoredState": allow_unclaimed,
            "flinkConfiguration": dict(configuration),
        }
        if savepoint:
            body |= {"savepointPath": savepoint, "claimMode": "NO_CLAIM"}
        return str(_answer(self._http.post(f"/jars/{uploaded}/run", json=body, timeout=120))["jobid"])

    def cancel(self, job: str) -> None:
        """Stop a job where it stands; its checkpoints stay."""
        _answer(self._http.patch(f"/jobs/{job}"))

    def stop(self, job: str, target: str) -> str:
        """Ask for a stop with savepoint into the URL `target`; the id to ask after."""
        body = {"targetDirectory": target, "drain": False}
        return str(_answer(self._http.post(f"/jobs/{job}/stop", json=body))["request-id"])

    def stopped(self, job: str, request: str) -> str | None:
        """Location of the savepoint once it is written, None while it is under way."""
        answer = self._get(f"/jobs/{job}/savepoints/{request}")
        if answer["status"]["id"] != "COMPLETED":
            return None
        operation = answer["operation"]
        if "failure-cause" in operation:
            raise FlinkError(root_cause(operation["failure-cause"].get("stack-trace", "")))
        return str(operation["location"])

    def _get(self, path: str) -> dict[str, Any]:
        return _answer(self._http.get(path))


def _numbers(response: httpx.Response, key: str) -> dict[str, float]:
    """id -> number of Flink's list of metrics; what is not a number (yet) is left out."""
    listed: Any = _answer(response)
    found = {str(entry["id"]): float(entry.get(key, "nan")) for entry in listed}
    return {name: value for name, value in found.items() if value == value}


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.is_success:
        content: dict[str, Any] = response.json() if response.content else {}
        return content
    try:
        errors: Any = response.json()
    except ValueError:
        errors = response.text
    told = errors.get("errors", [errors]) if isinstance(errors, Mapping) else [errors]
    raise FlinkError(root_cause("\n".join(str(error) for error in told)))


def root_cause(trace: str) -> str:
    """The line of a Java or Python stack trace that says what went wrong.

    >>> root_cause("a.B: outer\\n\\tat x.Y\\nCaused by: java.io.IOException: disk full\\n\\tat x.Z")
    'java.io.IOException: disk full'
    """
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by: ")]
    if causes:
        return _PYTHON.sub(r"\1: ", causes[-1].removeprefix("Caused by: "))[:_LONGEST]
    told = [line for line in lines if not line.startswith(("at ", "... ", "WARNING: "))]
    if not told:
        return "unknown"
    cause = told[-1] if any(line.startswith("Traceback ") for line in lines) else told[0]
    return _PYTHON.sub(r"\1: ", cause)[:_LONGEST]
