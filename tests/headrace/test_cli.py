from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from headrace.cli import application, main
from headrace.keys import load_keys, prepare_data_dir
from headrace.supervisor import free_port

HEAVY = {"numpy", "redis", "clickhouse_connect", "chdb", "bytewax", "fastapi", "rich.progress"}
RUN_AND_LIST = f"""
import sys
from headrace.cli import main
try:
    main()
finally:
    print(*({HEAVY!r} & sys.modules.keys()), file=sys.stderr)
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("HEADRACE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process; return exit status, stdout and stderr."""

    def run(*words: str, **environment: str) -> tuple[int, str, str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["headrace", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def refused(answer: tuple[int, str, str]) -> str:
    """Check that a command was refused as it should be, and return the line it was refused with."""
    status, out, err = answer
    assert status == 2, err
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("headrace: ")
    return lines[0]


@pytest.fixture
def events(tmp_path: Path) -> str:
    path = tmp_path / "events.ndjson"
    event = {"event_type": "click", "user_id": "1", "item_id": "a", "timestamp": 1_700_000_000}
    path.write_text(json.dumps(event) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def busy_port() -> Iterator[str]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield str(server.getsockname()[1])


def commands() -> dict[str, TyperCommand]:
    found: dict[str, TyperCommand] = {}

    def walk(path: str, group: TyperGroup) -> None:
        for name, command in group.commands.items():
            if isinstance(command, TyperGroup):
                if not command.hidden:
                    walk(f"{path}{name} ", command)
            elif isinstance(command, TyperCommand):
                found[path + name] = command

    root = get_command(application())
    assert isinstance(root, TyperGroup)
    walk("", root)
    return found


COMMANDS = commands()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_table_of_the_readme(name: str) -> None:
    manual = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    table = manual.partition("## Commands")[2].partition("\n## ")[0]
    group, _, command = name.rpartition(" ")

    assert re.search(rf"`headrace {group}[^`]*\b{command}\b" if group else rf"`headrace {command}\b", table), name


@pytest.mark.parametrize("words", ["--help", "up --help", "verify crash --help", "bench serve --help"])
def test_help_loads_no_client_and_no_array_library(words: str) -> None:
    argv = [sys.executable, "-c", RUN_AND_LIST, *words.split()]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)

    assert "Usage:" in done.stdout
    assert done.stderr.strip() == ""


def examples(command: TyperCommand) -> list[str]:
    _, _, text = (command.help or "").partition("Examples:")
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_shows_examples_that_it_takes(name: str) -> None:
    command = COMMANDS[name]
    shown = examples(command)

    assert (command.help or "").split("\n")[0].endswith((".", ":"))
    assert shown
    for example in shown:
        words = [word for word in shlex.split(example) if not word.startswith("HEADRACE_")]
        assert words[: 1 + len(name.split())] == ["headrace", *name.split()]
        command.make_context(name, words[1 + len(name.split()) :])


def test_config_prints_one_object_without_secrets(run: Run) -> None:
    status, out, err = run(
        "config",
        "--json",
        HEADRACE_LOG="redis://user:log-secret@host:6379/0",
        HEADRACE_STATE="redis://host:6379/0?password=state-secret",
        HEADRACE_WAREHOUSE="https://user:warehouse-secret@host:8443/headrace",
        HEADRACE_API_KEYS="api-secret,other-secret",
    )

    document = json.loads(out)
    assert (status, err) == (0, "")
    assert document["log"] == "redis://user:***@host:6379/0"
    assert document["api_keys"] == 2
    assert "secret" not in out


def test_config_shows_every_setting_to_a_person(run: Run) -> None:
    status, out, _ = run("config", "--port", "9000", HEADRACE_WAREHOUSE="http://user:hidden@host:8123/x")

    assert status == 0
    assert "HEADRACE_PORT" in out
    assert "9000" in out
    assert "(embedded)" in out
    assert "hidden" not in out


@pytest.mark.parametrize(
    ("environment", "hint"),
    [
        ({"HEADRACE_PORT": "0"}, "HEADRACE_PORT: "),
        ({"HEADRACE_PORT": "many"}, "HEADRACE_PORT: "),
        ({"HEADRACE_PARTITIONS": "1000"}, "HEADRACE_PARTITIONS: "),
        ({"HEADRACE_LOG": "amqp://user:hidden@host"}, "redis://, rediss://, unix://"),
        ({"HEADRACE_STATE": "hidden"}, "redis://, rediss://, unix://"),
        ({"HEADRACE_STATE": "redis://:hidden@"}, "names no place"),
        ({"HEADRACE_WAREHOUSE": "clickhouse://user:hidden@host"}, "use http://"),
        ({"HEADRACE_WAREHOUSE": "http://user:hidden@host:99999"}, "use http://"),
        ({"HEADRACE_HOST": "0.0.0.0"}, "HEADRACE_API_KEYS"),
        ({"HEADRACE_HOST": "shop.example"}, "HEADRACE_API_KEYS"),
    ],
)
@pytest.mark.parametrize("command", ["config", "up"])
def test_a_bad_setting_is_told_in_one_line(run: Run, command: str, environment: dict[str, str], hint: str) -> None:
    line = refused(run(command, **environment))

    assert hint in line
    assert "hidden" not in line


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_busy_port_is_told_in_one_line(run: Run, tmp_path: Path, command: str, busy_port: str) -> None:
    line = refused(run(command, "--port", busy_port, "--data-dir", str(tmp_path / "data"), "--json"))

    assert f":{busy_port} " in line
    assert "--port" in line


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_data_directory_that_takes_nothing_is_told_in_one_line(run: Run, command: str) -> None:
    line = refused(run(command, "--data-dir", "/proc/headrace", "--port", str(free_port()), "--json"))

    assert "--data-dir" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_data_directory_is_told_in_one_line(run: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    assert "--data-dir" in refused(run("up", "--data-dir", str(tmp_path), "--port", str(free_port())))


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("LOG", "redis://:hidden@127.0.0.1:{}"),
        ("STATE", "unix:///nowhere/{}"),
        ("WAREHOUSE", "http://u:hidden@127.0.0.1:{}"),
    ],
)
def test_a_store_that_does_not_answer_is_told_before_anything_starts(
    run: Run, tmp_path: Path, name: str, url: str
) -> None:
    words = ("up", "--data-dir", str(tmp_path / "data"), "--port", str(free_port()))
    line = refused(run(*words, **{f"HEADRACE_{name}": url.format(free_port())}))

    assert f"HEADRACE_{name}" in line
    assert "does not answer" in line
    assert "hidden" not in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", ["replay", "demo"])
def test_a_missing_file_of_events_is_told_in_one_line(run: Run, command: str) -> None:
    line = refused(run(command, "--events", "/nowhere/clicks.ndjson"))

    assert "/nowhere/clicks.ndjson" in line


@pytest.mark.parametrize("command", ["replay", "demo"])
def test_a_format_that_does_not_exist_is_told_with_those_that_do(run: Run, command: str, events: str) -> None:
    line = refused(run(command, "--events", events, "--format", "betamax"))

    assert "betamax" in line
    assert "movielens" in line


def test_a_file_that_fits_no_format_is_told_with_what_would(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("colour,size\nred,3\n", encoding="utf-8")

    assert "colour, size" in refused(run("replay", "--events", str(path)))


@pytest.mark.parametrize("speed", ["fast", "0", "-1", "nan", "inf", ""])
def test_a_bad_speed_is_told_in_one_line(run: Run, events: str, speed: str) -> None:
    assert "realtime" in refused(run("replay", "--events", events, "--speed", speed))


@pytest.mark.parametrize("json_wanted", [[], ["--json"]])
def test_an_api_that_does_not_answer_is_told_in_one_line(run: Run, events: str, json_wanted: list[str]) -> None:
    line = refused(run("replay", "--events", events, "--url", f"http://127.0.0.1:{free_port()}", *json_wanted))

    assert "headrace up" in line


@pytest.mark.parametrize("url", ["here", "ftp://127.0.0.1", "http://127.0.0.1:99999", "http://"])
def test_a_url_of_no_api_is_told_in_one_line(run: Run, events: str, url: str) -> None:
    assert "http://host:port" in refused(run("replay", "--events", events, "--url", url))


@pytest.mark.parametrize("command", ["state", "rebuild"])
def test_a_directory_in_which_nothing_ever_ran_is_told_and_stays_as_it_is(
    run: Run, tmp_path: Path, command: str
) -> None:
    line = refused(run(command, "--data-dir", str(tmp_path / "mistyped")))

    assert "--data-dir" in line
    assert not (tmp_path / "mistyped").exists()


def test_the_state_of_a_stopped_system_is_told_to_need_a_start(run: Run, tmp_path: Path) -> None:
    load_keys(prepare_data_dir(tmp_path / "data"))

    assert "headrace up" in refused(run("state", "--data-dir", str(tmp_path / "data")))


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("replay", "--events"),
        ("nonsense", "nonsense"),
        ("config --colour", "--colour"),
        ("verify crash --kills 0", "--kills"),
        ("verify crash --targets sun", "flow, state"),
        ("verify crash --log pulsar --targets log", "--kill-broker"),
        ("evaluate users --events e.csv --cut noon", "noon"),
        ("simulate --hours nan", "--hours"),
        ("simulate --items 3", "--items"),
        ("simulate --newcomers 100", "--newcomers"),
        ("simulate --newcomers 3 --policies greedy-1,nobody", "nobody"),
        ("flow nonsense", "record"),
        ("schema --out /proc/nowhere", "--out"),
    ],
)
def test_wrong_words_are_told_in_one_line(run: Run, words: str, hint: str) -> None:
    assert hint in refused(run(*words.split()))


def test_doctor_exits_with_1_and_says_what_to_do(run: Run, tmp_path: Path, busy_port: str) -> None:
    status, out, err = run("doctor", "--port", busy_port, "--data-dir", str(tmp_path / "data"), "--json")

    document = json.loads(out)
    assert (status, err) == (1, "")
    assert not document["ok"]
    findings = {check["name"]: check["finding"] for check in document["checks"] if not check["is_ok"]}
    assert findings["port"].endswith("choose another --port")


def test_replay_in_this_process_prints_one_object(run: Run, events: str) -> None:
    status, out, err = run("replay", "--events", events, "--json")

    assert (status, err) == (0, "")
    assert json.loads(out)["events"] == 1


def test_evaluate_users_prints_one_object_and_refuses_a_cut_behind_the_end(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    rows = [{"user_id": f"u{n // 3}", "item_id": f"i{n % 7}", "timestamp": 1_700_000_000 + n} for n in range(30)]
    path.write_text("".join(json.dumps({"event_type": "click", **row}) + "\n" for row in rows), encoding="utf-8")
    words = ("evaluate", "users", "--events", str(path), "--json")

    status, out, err = run(*words, "--cut", "2023-11-14T22:13:35")

    assert (status, err) == (0, "")
    document = json.loads(out)
    assert (document["cut"], document["new_users"], document["repeats"]) == (1_700_000_015, 5, "excluded")
    assert document["users"]["0"]["n"] == 5
    assert "--cut" in refused(run(*words, "--cut", "2024-01-01"))


def test_evaluate_sessions_prints_one_object_and_refuses_files_without_sessions(run: Run, tmp_path: Path) -> None:
    files = {}
    for name, sessions in (("train", range(20)), ("test", range(20, 26))):
        rows = [f"{s},{pos},{10 * (s % 4) + pos}" for s in sessions for pos in range(3)]
        files[name] = tmp_path / f"{name}.csv"
        files[name].write_text("\n".join(["session,pos,item", *rows]), encoding="utf-8")
    single = tmp_path / "single.csv"
    single.write_text("session,pos,item\n1,0,5\n", encoding="utf-8")
    words = ("evaluate", "sessions", "--train", str(files["train"]), "--json")

    status, out, err = run(*words, "--test", str(files["test"]), "--valid", str(files["test"]), "--mode", "streaming")

    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (found["n"], found["hr@20"], found["static"]["n"], found["valid"]["n"]) == (12, 1.0, 12, 12)
    assert {"own_session_gain", "own_session_gain_ci", "other_sessions_gain", "other_sessions_gain_ci"} <= set(found)
    assert "--test" in refused(run(*words, "--test", str(single)))
    assert "gone.csv" in refused(run(*words, "--test", str(tmp_path / "gone.csv")))


def test_evaluate_slates_prints_one_object_and_refuses_what_leaves_nothing_to_score(run: Run, tmp_path: Path) -> None:
    path, shown = tmp_path / "slates.ndjson", [{"item_id": f"i{n}", "price": 9.0 + n} for n in range(5)]
    rows: list[dict[str, object]] = []
    for n in range(8):
        who = {"user_id": f"u{n}", "session_id": f"s{n}", "timestamp": 1_700_000_000 + 100 * n}
        rows += [{"event_type": "impression", "items": shown, **who}, {"event_type": "click", "item_id": "i0", **who}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ("evaluate", "slates", "--events", str(path), "--json")

    status, out, err = run(*words, "--last", "3")

    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (found["n"], found["learned_before"], found["baselines"]["display_order"]["mrr"]) == (3, 5, 1.0)
    assert {"mrr", "mrr_ci", "gain", "gain_ci", "contributions"} <= set(found)
    assert "left to score" in refused(run(*words, "--after", "2024-01-01"))
    assert "noon" in refused(run(*words, "--after", "noon"))
