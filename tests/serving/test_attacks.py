"""Uploads that mean no good: refused with a sentence, and nothing is left on the disk."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from served import BOUNDARY, Played, Served, ask, form, served, upload

from mmgenre.serving.uploads import Limits, shown_name

LIMITS = Limits(
    file_mb={"audio": 2, "image": 1, "text": 1},
    files={"audio": 3, "image": 1, "text": 1},
    whole_mb=3,
    at_once=24,
    stalled_s=1.0,
)
SONG = b"RIFF" + bytes(1000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(Played(), tmp_path / "uploads", LIMITS) as running:
        yield running
        assert running.left() == []
        assert upload(running.port, ("text", None, b"words")).status == 200  # it still serves


def fault(server: Served, *parts: tuple[str, str | None, bytes]) -> tuple[int, str]:
    answer = upload(server.port, *parts)
    return answer.status, answer.json["error"]


def test_a_file_is_too_large(server: Served) -> None:
    status, text = fault(server, ("image", "big.png", bytes(1_000_001)))
    assert (status, text) == (413, "big.png: larger than 1 MB. Send less.")
    assert upload(server.port, ("image", "ok.png", bytes(1_000_000))).status == 200


def test_a_typed_text_is_too_large(server: Served) -> None:
    status, text = fault(server, ("text", None, b"a" * 1_000_001))
    assert (status, text) == (413, "your text: larger than 1 MB. Send less.")


def test_the_whole_is_too_large(server: Served) -> None:
    status, text = fault(server, *(("audio", f"{k}.wav", bytes(1_900_000)) for k in range(2)))
    assert (status, text) == (413, "The upload is larger than 3 MB. Send less.")


def test_who_sends_far_too_much_is_told_so_and_not_cut_off(server: Served) -> None:
    answer = upload(server.port, ("audio", "a.wav", bytes(60_000_000)))
    assert answer.status == 413


def test_a_declared_size_is_too_large_before_anything_is_read(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        assert raw.recv(12) == b"HTTP/1.1 413"
    assert server.left() == []


def test_a_body_without_a_declared_size_is_counted(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=" + BOUNDARY.encode() + b"\r\n\r\n"
        )
        body = form([("audio", f"{k}.wav", bytes(1_900_000)) for k in range(2)])
        raw.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        assert raw.recv(12) == b"HTTP/1.1 413"


def test_too_many_files(server: Served) -> None:
    tracks = [("audio", f"{k}.wav", SONG) for k in range(4)]
    assert fault(server, *tracks) == (413, "Of audio at most 3 can be sent.")
    covers = [("image", f"{k}.png", SONG) for k in range(2)]
    assert fault(server, *covers) == (413, "Of image at most 1 can be sent.")
    many = [("text", None, b" ") for _ in range(50)]
    assert fault(server, *many)[0] == 400


def test_a_typed_text_and_a_text_file_are_one_too_many(server: Served) -> None:
    both = ("text", None, b"typed"), ("text", "a.txt", b"file")
    assert fault(server, *both) == (413, "Of text at most 1 can be sent.")
    assert upload(server.port, ("text", None, b"  "), ("text", "a.txt", b"file")).status == 200


WHOLE = form([("audio", "a.wav", SONG)])


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (f"multipart/form-data; boundary={BOUNDARY}", WHOLE[:-10], 400),
        (f"multipart/form-data; boundary={BOUNDARY}", WHOLE[: len(WHOLE) // 2], 400),
        (f"multipart/form-data; boundary={BOUNDARY}", b"", 400),
        (f"multipart/form-data; boundary={BOUNDARY}", bytes(5000), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", WHOLE.replace(b"form-data", b"x"), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", WHOLE.replace(b'name="audio"', b""), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", WHOLE.replace(b"audio", b"b" * 9999), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", WHOLE.replace(b"audio", b"\xff\xfe"), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", WHOLE.replace(b"audio", b"video"), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", form([]), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", form([("audio", None, b"x")]), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", form([("text", None, b"\xff")]), 400),
        ("multipart/form-data; boundary=another", WHOLE, 400),
        ("multipart/form-data", WHOLE, 415),
        ("multipart/form-data; boundary=", WHOLE, 415),
        ("application/json", b"{}", 415),
        ("", WHOLE, 415),
    ],
)
def test_malformed_forms(server: Served, kind: str, body: bytes, status: int) -> None:
    answer = ask(server.port, body=body, headers={"Content-Type": kind})
    assert answer.status == status
    assert len(answer.json["error"]) > 20


@pytest.mark.parametrize(
    "name",
    ["../../evil", "/etc/passwd", "..\\..\\evil", "....//evil", ".", "..", "", "a/../../evil",
     "%2e%2e%2fevil", "evil\x00.png", "C:\\evil", "~/evil", "a" * 3000, "-rf", "é\u202egnp.mp3"],
)  # fmt: skip
def test_names_of_files_are_no_paths(server: Served, tmp_path: Path, name: str) -> None:
    before = {path for path in tmp_path.rglob("*") if server.uploads not in path.parents}
    answer = upload(server.port, ("image", name, SONG))
    if answer.status == 200:
        assert answer.json["genres"][0]["name"] == hashlib.sha256(SONG).hexdigest()
    else:  # a name that no form can hold
        assert answer.status == 400
        assert "damaged" in answer.json["error"]
    assert server.left() == []
    assert {path for path in tmp_path.rglob("*") if server.uploads not in path.parents} == before
    assert not {"/", "\\", "\x00", "\u202e"} & set(shown_name(name))
    assert len(shown_name(name)) <= 80


def test_paths_lead_to_nothing_but_the_page(server: Served) -> None:
    for path in ("/../app.py", "/%2e%2e/app.py", "/page.css/../../app.py", "//etc/passwd", "/x"):
        assert ask(server.port, path).status == 404
    assert ask(server.port, "/predict").status == 405
    assert ask(server.port, "/", body=b"x").status == 405


def test_a_connection_is_cut_half_way(server: Served) -> None:
    body = form([("audio", "a.wav", bytes(1_500_000))])
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(head.encode() + body[:700_000])
        end = time.monotonic() + 30
        while not any(path.is_file() for path in server.uploads.rglob("*")):
            assert time.monotonic() < end, "the first half has not arrived"
    assert server.left() == []


def test_an_upload_that_stalls_is_given_up(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
            b"Content-Type: multipart/form-data; boundary=" + BOUNDARY.encode() + b"\r\n\r\n--a"
        )
        assert raw.recv(12) == b"HTTP/1.1 408"


def test_a_full_disk_is_named(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmgenre.serving.uploads._Part.write", full)
    assert fault(server, ("audio", "a.wav", SONG)) == (507, "The disk of the server is full.")
    monkeypatch.undo()


def test_twenty_at_once_are_served_one_after_the_other(tmp_path: Path) -> None:
    tagger = Played(seconds=0.02)
    with served(tagger, tmp_path / "uploads", LIMITS) as server:
        songs = [bytes([k]) * 300_000 for k in range(20)]
        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(lambda s: upload(server.port, ("audio", "a", s)), songs))
        assert [answer.status for answer in answers] == [200] * 20
        named = [answer.json["named"] for answer in answers]
        assert named == [[hashlib.sha256(song).hexdigest()] for song in songs]
        assert tagger.most_at_once == 1
        assert server.left() == []


def test_more_than_the_queue_holds_are_asked_to_come_again(tmp_path: Path) -> None:
    tagger = Played(seconds=0.3)
    with served(tagger, tmp_path / "uploads", Limits(at_once=2)) as server:
        with ThreadPoolExecutor(8) as threads:
            given = [("text", None, b"words")] * 8
            answers = list(threads.map(lambda part: upload(server.port, part), given))
        counts = sorted(answer.status for answer in answers)
        assert set(counts) == {200, 503}
        assert counts.count(200) >= 2
        refused = next(answer for answer in answers if answer.status == 503)
        assert "Try again" in refused.json["error"]
        assert refused.headers["retry-after"] == "5"
        assert server.left() == []
        assert upload(server.port, ("text", None, b"words")).status == 200


def test_nothing_is_done_for_a_browser_that_has_gone(tmp_path: Path) -> None:
    tagger = Played(seconds=0.5)
    with served(tagger, tmp_path / "uploads", LIMITS) as server:
        body = form([("audio", "a.wav", SONG)])
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
                raw.sendall(head.encode() + body)
                time.sleep(0.05)
        assert server.left() == []
        assert len(tagger.items) < 5


def test_an_unexpected_failure_is_no_traceback_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("inner secret")

    monkeypatch.setattr(Played, "predict_manifest", fail)
    with served(Played(), tmp_path / "uploads", LIMITS) as server:
        answer = upload(server.port, ("text", None, b"words"))
        assert answer.status == 500
        assert b"secret" not in answer.body
        assert server.left() == []
    assert "inner secret" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost"}, 200),
        ({"Host": "127.0.0.1:8517"}, 200),
        ({"Host": "[::1]:8517"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8517"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
    ],
)
def test_other_names_and_other_sites(server: Served, headers: dict[str, str], status: int) -> None:
    answer = upload(server.port, ("text", None, b"words"), headers=headers)
    assert answer.status == status
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
