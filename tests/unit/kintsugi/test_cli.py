"""The command line without a stack: clear lines, exit codes, and what works while nothing runs."""

import gzip
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from kintsugi import rules
from kintsugi.cli import main
from kintsugi.lookup import ids_of
from kintsugi.settings import CHECKOUT, Settings
from kintsugi.status import differences, text
from pipelines.log import LogSettings, open_log
from schemas.log_record import Events, Raw, decode


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


class Command:
    """Runs `kintsugi` in this process, on a home and a configuration with spaces and Chinese characters."""

    def __init__(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.home, self.config = root / "家 a", root / "配 c"
        self._monkeypatch, self._capsys = monkeypatch, capsys
        for name in (name for name in os.environ if name.startswith("KINTSUGI_")):
            monkeypatch.delenv(name)
        monkeypatch.setenv("KINTSUGI_HOME", str(self.home))
        monkeypatch.setenv("KINTSUGI_CONFIG", str(self.config))

    def __call__(self, *arguments: str, **more: str) -> Done:
        self._capsys.readouterr()
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["kintsugi", *arguments])
            for name, value in more.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        code = ended.value.code
        assert isinstance(code, int)
        return Done(code, *self._capsys.readouterr())


@pytest.fixture
def kintsugi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, monkeypatch, capsys)


def test_a_c_locale_a_proxy_and_chinese_paths_do_no_harm(tmp_path: Path) -> None:
    home = tmp_path / "家 a"
    environment = {"PATH": os.environ["PATH"], "LANG": "C", "LC_ALL": "C", "HTTP_PROXY": "http://127.0.0.1:1",
                   "PYTHONPATH": str(CHECKOUT), "KINTSUGI_HOME": str(home)}  # fmt: skip
    command = [sys.executable, "-m", "kintsugi.cli", "status"]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert str(home) in done.stdout.decode()


def test_help_names_every_command(kintsugi: Command) -> None:
    done = kintsugi("--help")
    assert done.returncode == 0
    for name in (
        "up",
        "down",
        "status",
        "doctor",
        "demo",
        "workspace",
        "ingest",
        "wait",
        "lookup",
        "sql",
        "rules",
    ):
        assert f" {name} " in done.stdout


def test_a_usage_error_is_2(kintsugi: Command) -> None:
    assert kintsugi("ingest").returncode == 2
    assert kintsugi("nonsense").returncode == 2


@pytest.mark.parametrize(
    "command", [("wait",), ("sql", "SELECT 1"), ("digest", "-w", "demo"), ("state", "rebuild")]
)
def test_without_a_stack_one_line_says_what_to_do(kintsugi: Command, command: tuple[str, ...]) -> None:
    done = kintsugi(*command)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "kintsugi up" in done.stderr


def test_a_wrong_setting_is_one_line(kintsugi: Command) -> None:
    done = kintsugi("status", KINTSUGI_LOG="files")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "KINTSUGI_LOG=files" in done.stderr


def test_down_and_status_without_a_stack(kintsugi: Command) -> None:
    assert "no stack runs" in kintsugi("down").stdout
    status = kintsugi("status")
    assert status.returncode == 1
    assert "stopped" in status.stdout


def test_data_is_deleted_only_when_asked_twice_and_only_what_is_ours(kintsugi: Command) -> None:
    kintsugi("workspace", "create", "demo")
    assert (kintsugi.home / "keys").is_dir()
    (kintsugi.home / "notes.txt").write_text("mine")
    refused = kintsugi("down", "--delete-data")
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    assert (kintsugi.home / "keys").is_dir()
    assert kintsugi("down", "--delete-data", "--yes").returncode == 0
    assert [path.name for path in kintsugi.home.iterdir()] == ["notes.txt"]


def test_a_workspace_is_made_from_the_template_once(kintsugi: Command) -> None:
    made = kintsugi("workspace", "create", "acme")
    assert made.returncode == 0
    assert "kw_" in made.stdout
    assert "kr_" in made.stdout
    assert sorted(path.name for path in (kintsugi.config / "acme").iterdir()) == [
        "identity.yaml", "scoring.yaml", "workspace.yaml",
    ]  # fmt: skip
    again = kintsugi("workspace", "create", "acme")
    assert (again.returncode, again.stderr) == (1, "kintsugi: The workspace acme exists already.\n")


@pytest.mark.parametrize("name", ["../x", "", "Acme", "a" * 64, "system"])
def test_a_name_that_cannot_be_one_leaves_nothing_behind(kintsugi: Command, name: str) -> None:
    """`system` is the workspace of log lines that belong to none: a tenant there would read them."""
    done = kintsugi("workspace", "create", name)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "name" in done.stderr
    assert not kintsugi.config.exists()
    assert not kintsugi.home.exists()


def test_rules_check_names_file_line_and_column(kintsugi: Command) -> None:
    kintsugi("workspace", "create", "acme")
    assert kintsugi("rules", "check", "-w", "acme").returncode == 0
    scoring = kintsugi.config / "acme" / "scoring.yaml"
    scoring.write_text("behaviour:\n  rules:\n    - {name: x, event: Y, point: 1}\n", encoding="utf-8")
    wrong = kintsugi("rules", "check", "-w", "acme")
    assert wrong.returncode == 1
    assert f"{scoring}:3:" in wrong.stderr


@pytest.mark.parametrize(
    ("blocked", "said"),
    [
        ("patterns: [zeroes]", "unknown pattern zeroes; did you mean zeros?"),
        ("values: [{wechat_openid: oLiLei0001}]", "wechat_openid needs its appid: appid:value."),
    ],
)
def test_what_would_block_nothing_is_refused(kintsugi: Command, blocked: str, said: str) -> None:
    kintsugi("workspace", "create", "acme")
    (kintsugi.config / "acme" / "identity.yaml").write_text(f"blocked:\n  {blocked}\n", encoding="utf-8")
    done = kintsugi("rules", "check", "-w", "acme")
    assert (done.returncode, said in done.stderr) == (1, True)


def test_a_scoped_value_is_blocked_in_its_scope(kintsugi: Command) -> None:
    kintsugi("workspace", "create", "acme")
    (kintsugi.config / "acme" / "identity.yaml").write_text(
        "blocked: {values: [{wechat_openid: 'wx1:oLiLei0001'}]}", encoding="utf-8"
    )
    settings = Settings.load({"KINTSUGI_HOME": str(kintsugi.home), "KINTSUGI_CONFIG": str(kintsugi.config)})
    named = pa.table(
        {"namespace": ["wechat_openid"] * 2, "scope": ["wx1", "wx2"], "value": ["oLiLei0001"] * 2}
    )
    blocked, other = ids_of(settings, "acme", named)
    ruleset = rules.check(settings, "acme").ruleset
    assert (blocked in ruleset, other in ruleset) == (True, False)


def test_a_row_without_the_scope_it_needs_is_no_identifier(kintsugi: Command) -> None:
    kintsugi("workspace", "create", "acme")
    settings = Settings.load({"KINTSUGI_HOME": str(kintsugi.home), "KINTSUGI_CONFIG": str(kintsugi.config)})
    rows = pa.table({"namespace": ["wechat_openid"] * 2, "scope": [None, ""], "value": ["oLiLei0001"] * 2})
    assert ids_of(settings, "acme", rows) == ["", ""]


def test_a_segment_that_would_not_be_read_is_refused(kintsugi: Command) -> None:
    kintsugi("workspace", "create", "acme")
    folder = kintsugi.config / "acme" / "segments"
    folder.mkdir()
    (folder / "hot.yml").write_text('name: hot\nwhen: "behaviour_score >= 60"\n', encoding="utf-8")
    done = kintsugi("rules", "check", "-w", "acme")
    assert (done.returncode, "rename it to hot.yaml" in done.stderr) == (1, True)


def test_without_rules_in_force_the_advice_is_to_apply_them(kintsugi: Command) -> None:
    kintsugi("workspace", "create", "acme")
    settings = Settings.load({"KINTSUGI_HOME": str(kintsugi.home), "KINTSUGI_CONFIG": str(kintsugi.config)})
    (nothing,), (others,) = differences(settings, "acme", ""), differences(settings, "acme", "g0")
    assert "`kintsugi rules apply -w acme`" in nothing
    assert "`kintsugi rules preview -w acme`" in others


def test_a_file_that_is_not_there_is_named_without_numbers(kintsugi: Command) -> None:
    kintsugi("workspace", "create", "acme")
    done = kintsugi("ingest", "nowhere.ndjson", "-w", "acme")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1, "kintsugi: nowhere.ndjson: No such file or directory",
    )  # fmt: skip


@pytest.mark.parametrize("day", ["x", "2026-02-30"])
def test_a_day_that_is_none_is_not_understood(kintsugi: Command, day: str) -> None:
    assert kintsugi("digest", "-w", "acme", "--date", day).returncode == 2


def test_the_same_rules_are_the_same_generation(kintsugi: Command) -> None:
    kintsugi("workspace", "create", "acme")
    first = kintsugi("rules", "check", "-w", "acme").stdout
    scoring = kintsugi.config / "acme" / "scoring.yaml"
    scoring.write_text("# a comment\n" + scoring.read_text(encoding="utf-8"), encoding="utf-8")
    assert kintsugi("rules", "check", "-w", "acme").stdout == first


def test_events_reach_the_log_while_the_stack_is_down(kintsugi: Command, tmp_path: Path) -> None:
    kintsugi("workspace", "create", "acme")
    good = [{"type": "track", "event": "Seen", "userId": f"u{i}", "messageId": f"m{i}"} for i in range(1500)]
    source = tmp_path / "events.ndjson.gz"
    source.write_bytes(gzip.compress("\n".join([*map(json.dumps, good), "{torn"]).encode()))
    done = kintsugi("ingest", str(source), "-w", "acme")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "1,500 events accepted, 1 rejected")
    assert "\r" not in done.stderr
    assert "\x1b" not in done.stderr
    with open_log(LogSettings(home=kintsugi.home)) as log:
        records = [decode(line) for line in log.read()]
    assert [len(record.batch) for record in records if isinstance(record, Events)] == [1000, 500]
    assert [len(record.items) for record in records if isinstance(record, Raw)] == [1]


def test_an_unknown_workspace_is_answered_with_those_there_are(kintsugi: Command) -> None:
    kintsugi("workspace", "create", "acme")
    done = kintsugi("ingest", "-", "-w", "acne")
    assert done.returncode == 1
    assert "there are: acme" in done.stderr


def test_doctor_says_a_remedy_for_what_fails(kintsugi: Command) -> None:
    done = kintsugi("doctor", KINTSUGI_JAVA_HOME="/nowhere")
    assert done.returncode == 1
    assert "FAIL  java" in done.stdout
    assert "KINTSUGI_JAVA_HOME" in done.stdout


def test_doctor_promises_a_port_once(kintsugi: Command) -> None:
    names = ("COLLECTOR", "API", "STORE", "FLINK")
    done = kintsugi("doctor", **{f"KINTSUGI_{name}_PORT": "28650" for name in names})
    ports = re.findall(r"port (\d+) for", done.stdout)
    assert len(ports) == len(set(ports)) == len(names)


def test_status_shows_the_last_exception_and_what_differs(tmp_path: Path) -> None:
    told = {
        "home": str(Settings.load({"KINTSUGI_HOME": str(tmp_path)}).home),
        "phase": "ready",
        "endpoints": {"api": "http://127.0.0.1:8401"},
        "processes": {"api": {"state": "running", "pid": 7, "restarts": 2, "last_exit": "exit code 1", "seconds": 125}},
        "job": {"state": "RESTARTING", "note": "", "checkpoint_age": 40.0,
                "last_exception": "ValueError: x", "last_exception_at": "2026-11-21 10:00:00 UTC"},
        "workspaces": {"demo": {"generation": "g1", "as_of": "2026-11-21", "counts": {"events": 1200}}},
        "lag": 3,
    }  # fmt: skip
    shown = text(told, ["demo: the rules files differ"])
    for part in ("2 restarts (exit code 1)", "RESTARTING, checkpoint 40 s ago", "ValueError: x", "1,200 events",
                 "3 segments", "warning    demo"):  # fmt: skip
        assert part in shown
