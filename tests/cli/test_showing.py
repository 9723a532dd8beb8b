"""Progress in log files, --quiet, --json of every command, completion, and how commands end."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable
from itertools import count

import pytest
from command_line import Call
from small import Small
from typer.main import get_command

from mmgenre.cli import app, ending, showing
from mmgenre.cli.showing import LINE_EVERY_S, LogLines
from mmgenre.errors import Interrupted
from mmgenre.progress import Detailed, silent, tell

NO_RESULT = {"serve"}  # runs until it is ended


def commands() -> dict[str, set[str]]:
    """Options of every command by its name, as `manifest split`."""
    found: dict[str, set[str]] = {}
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        for own, leaf in (
            {f"{name} {k}": c for k, c in below.items()} if below else {name: command}
        ).items():
            found[own] = {option for p in leaf.params for option in p.opts}
    return found


def test_every_command_knows_json_and_quiet() -> None:
    found = commands()
    assert {"fuse", "manifest suspects", "store info", "cite", "tables"} <= found.keys()
    assert {name for name, options in found.items() if "--json" not in options} == NO_RESULT
    assert all({"--quiet", "-q"} <= options for options in found.values())


def test_completion_names_commands(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_MMGENRE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "mmgenre man")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert call().out.split() == ["manifest"]


def clock(step_s: float) -> Callable[[], float]:
    times = count()
    return lambda: next(times) * step_s


def test_a_log_has_a_line_every_few_seconds_not_a_thousand() -> None:
    out = io.StringIO()
    log = LogLines(out, clock=clock(0.1))  # 100 s
    for k in range(1001):
        log("reading audio", k, 1000)
    lines = out.getvalue().splitlines()
    assert 100 / LINE_EVERY_S - 2 <= len(lines) <= 100 / LINE_EVERY_S + 2
    assert lines[-1] == "reading audio: 1,000 of 1,000 in 0:01:40"
    assert lines[0].endswith(" left")


def test_short_tasks_say_nothing_and_what_was_done_before_takes_no_time() -> None:
    out = io.StringIO()
    log = LogLines(out, clock=clock(0.4))
    log("short", 0, 1)
    log("short", 1, 1)
    assert out.getvalue() == ""
    slow = LogLines(out, clock=clock(6.0))
    slow("reading", 50, 100)  # half of it by an earlier command
    slow("reading", 75, 100)
    assert out.getvalue() == "reading: 75 of 100, 0:00:06 left\n"


def test_words_reach_a_progress_that_shows_them_and_no_other() -> None:
    out = io.StringIO()
    log = LogLines(out, clock=clock(2.0))
    assert isinstance(log, Detailed)
    log("training", 0, 2)
    tell(log, "training", "loss 0.5")
    log("training", 2, 2)
    assert out.getvalue() == "training: 2 of 2 in 0:00:02; loss 0.5\n"
    tell(silent, "training", "loss 0.5")  # nothing to show it, and no error


def test_quiet_says_nothing_beside_the_result(
    small: Small, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "WORTH_A_LINE_S", 0.0)
    words = ("store", "verify", small.run / "embeddings.h5")
    shown, quiet = call(*words), call(*words, "-q")
    assert shown.err.startswith("verifying: ")
    assert (quiet.code, quiet.out, quiet.err) == (0, shown.out, "")
    assert call(*words).err  # and the next command is not quiet


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_command_with_its_code_and_handlers_return(
    call: Call, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    before = signal.getsignal(number)

    def diagnose() -> None:
        signal.raise_signal(number)

    monkeypatch.setattr("mmgenre.doctor.diagnose", diagnose)
    done = call("doctor", "--json")
    assert (done.code, done.out) == (code, "")
    assert done.err.splitlines()[1] == "to begin again: mmgenre doctor --json"
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_is_ignored_stays_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)  # as under nohup
    try:
        with ending.interrupts():
            signal.raise_signal(number)
            with pytest.raises(Interrupted):
                signal.raise_signal(signal.SIGTERM)
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_closed_terminal_may_say_so_twice() -> None:
    """To all of its processes, and then through its shell."""
    with ending.interrupts():
        with pytest.raises(Interrupted) as stop:
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    assert ending.exit_code(stop.value) == 129
    assert ending.lines(stop.value, ["fuse"])[0] == "stopped by SIGHUP; finished steps are kept"


def test_nothing_catches_it_by_accident() -> None:
    assert not issubclass(Interrupted, Exception | KeyboardInterrupt)
