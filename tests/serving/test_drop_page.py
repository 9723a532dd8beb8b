"""The page in headless Chromium, with real uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from browser import Page, chromium
from music import cover
from served import Played, Served, served
from small import Small
from tunes import RATE_HZ, tune

from mmgenre.fusion.prediction import Genre, Neighbour, Reasons
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.serving.uploads import Limits

DONE = "document.querySelector('.verdict') && document.getElementById('work').hidden"
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _nothing_wrong_on_the_page(request: pytest.FixtureRequest) -> Iterator[None]:
    """No error of a script, no violation of the policy, and no request to another server."""
    yield
    page: Page = request.getfixturevalue("page")
    page.js("1")  # takes in what has happened meanwhile
    faults, page.faults[:] = [f for f in page.faults if "status of " not in f], []
    requested, page.requested[:] = set(page.requested), []
    assert faults == []
    # data: are the symbols of the browser's own audio player.
    assert {u for u in requested if not u.startswith(("http://127.0.0.1:", "blob:", "data:"))} == (
        set()
    )


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("media")
    made = {
        "song": folder / "song.wav",
        "cover": folder / "cover.jpg",
        "text": folder / "review.txt",
        "bad": folder / "bad.mp3",
        "big": folder / "big.png",
        "odd": folder / "odd.zip",
    }
    soundfile.write(made["song"], tune(1, 12), RATE_HZ)
    made["cover"].write_bytes(cover(1, 200))
    made["text"].write_text("Loud riffs and heavy amplifiers; catchy hooks.", encoding="utf-8")
    made["bad"].write_bytes(b"no sound" * 500)
    made["big"].write_bytes(bytes(31_000_000))
    made["odd"].write_bytes(b"PK")
    return made


@pytest.fixture(scope="module")
def real(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    tagger = GenreTagger.from_pretrained(small.run)
    with served(tagger, tmp_path_factory.mktemp("real")) as running:
        yield running


def test_all_that_is_chosen_is_judged(real: Served, page: Page, media: dict[str, Path]) -> None:
    page.open(real.address)
    page.choose("#audio", [media["song"]])
    page.until(DONE)
    assert "from audio" in page.text(".verdict")
    page.choose("#image", [media["cover"]])
    page.until(f"{DONE} && document.querySelector('.verdict').innerText.includes('cover')")
    page.choose("#text", [media["text"]])
    page.until(f"{DONE} && document.querySelector('.verdict').innerText.includes('text')")
    assert "from audio, text, cover" in page.text(".verdict")
    assert page.text("#audio-drop .files").startswith("song.wav")
    headings = page.js("[...document.querySelectorAll('#answer h2')].map((h) => h.innerText)")
    assert headings[0] == "Genres"
    assert headings[1].startswith("Why ")
    assert {"Audio", "Text", "Cover"} <= set(page.text("#answer").split("\n"))
    # Bars are as long as the scores say.
    widths = page.js("[...document.querySelectorAll('#answer .rows')][0].querySelectorAll('i')"
                     ".length")  # fmt: skip
    assert widths == 6
    assert page.js("document.querySelector('audio').src.startsWith('blob:')")
    assert real.left() == []


def test_files_are_dropped_anywhere(real: Served, page: Page, media: dict[str, Path]) -> None:
    page.open(real.address)
    page.drop([media["cover"], media["song"], media["text"]])
    page.until(DONE)
    assert "from audio, text, cover" in page.text(".verdict")
    assert real.left() == []


def test_a_text_is_typed_and_sent_by_keys_alone(real: Served, page: Page) -> None:
    page.open(real.address)
    for _ in range(10):
        page.press("Tab")
        if page.js("document.activeElement.id") == "words":
            break
    page.do("Input.insertText", text="Intimate ballads, hushed and warm.")
    for _ in range(5):
        page.press("Tab")
        if page.js("document.activeElement.id") == "go":
            break
    page.press("Enter")
    page.until(DONE)
    assert "from text" in page.text(".verdict")
    assert page.js("document.activeElement.id") == "answer"


def test_damage_is_named_beside_the_answer(
    real: Served, page: Page, media: dict[str, Path]
) -> None:
    page.open(real.address)
    page.choose("#image", [media["cover"]])
    page.until(DONE)
    page.choose("#audio", [media["bad"]])
    page.until("document.querySelector('.first .bad')")
    told = page.text(".first .bad")
    assert told.startswith("Left out: bad.mp3: Format not recognised")
    assert "/" not in told.partition(";")[0]


def test_nothing_but_damage_is_an_error(real: Served, page: Page, media: dict[str, Path]) -> None:
    page.open(real.address)
    page.choose("#audio", [media["bad"]])
    page.until("document.querySelector('#fault .bad')")
    assert "Nothing of this can be used" in page.text("#fault")
    assert "bad.mp3: Format not recognised" in page.text("#fault")
    assert real.left() == []


def test_what_cannot_be_sent_is_said_without_an_upload(
    real: Served, page: Page, media: dict[str, Path]
) -> None:
    page.open(real.address)
    page.requested.clear()
    page.drop([media["big"], media["odd"]])
    page.until("document.querySelector('#fault .bad')")
    assert "big.png: 31.0 MB; at most 30 MB can be sent." in page.text("#fault")
    assert "odd.zip: is neither audio nor a picture nor a text." in page.text("#fault")
    assert not [url for url in page.requested if url.endswith("/predict")]


def test_what_the_server_refuses_is_said(
    tmp_path: Path, page: Page, media: dict[str, Path]
) -> None:
    with served(Played(), tmp_path, Limits(at_once=0)) as server:
        page.open(server.address)
        page.choose("#audio", [media["song"]])
        page.until("document.querySelector('#fault .bad')")
        assert "uploads are being served. Try again in a moment." in page.text("#fault")
        assert page.js("document.getElementById('work').hidden")


def reasons() -> Reasons:
    """All reasons that an answer may have; names that would be markup."""
    nearest = (Neighbour(MARKUP, 0.91, ("Rock", "Metal")), Neighbour("b2", 0.7, ("Folk",)))
    shares = {"audio": 0.4, "text": -0.1, "image": 0.3}
    alone = {"audio": Genre("Rock", 0.7), "text": Genre(MARKUP, 0.6)}
    return Reasons("Rock", 0.2, shares, alone, nearest=nearest)


def test_every_reason_is_drawn_and_data_stay_text(
    tmp_path: Path, page: Page, media: dict[str, Path]
) -> None:
    with served(Played(reasons=reasons()), tmp_path) as server:
        page.open(server.address)
        page.drop([media["cover"], media["song"], media["text"]])
        page.until(DONE)
        assert "Audio\n+40.0\nText\n−10.0\nCover\n+30.0" in page.text("#answer")
        assert MARKUP in page.text(".near")
        assert page.js("document.querySelectorAll('.near img, .rows img').length") == 0
        assert server.left() == []


PIECES = """(async () => {
  const { show } = await import("/draw.js");
  const samples = new Uint8Array(8000 * 9), head = new DataView(new ArrayBuffer(44));
  const put = (at, text) => [...text].forEach((c, k) => head.setUint8(at + k, c.charCodeAt(0)));
  put(0, "RIFF"); put(8, "WAVEfmt "); put(36, "data");
  head.setUint32(4, 36 + samples.length, true); head.setUint32(16, 16, true);
  head.setUint16(20, 1, true); head.setUint16(22, 1, true); head.setUint32(24, 8000, true);
  head.setUint32(28, 8000, true); head.setUint16(32, 1, true); head.setUint16(34, 8, true);
  head.setUint32(40, samples.length, true);
  const song = new File([head.buffer, samples], "a.wav", { type: "audio/wav" });
  const canvas = document.createElement("canvas");
  const picture = await new Promise((done) => canvas.toBlob(done));
  const answer = {
    kind: "probability", named: [], used: ["audio", "image"], refused: [], unsure: "too little",
    notes: ["audio: 7 s of 240 s"], likely: ["Rock", "Folk"],
    genres: [{ name: "Rock", score: 0.4 }], reasons: {
      genre: "Rock", base: 0.2, shares: { audio: 0.1, image: 0.1 }, alone: {}, nearest: [],
      words: [...Array(14).keys()].map((k) => ({ name: `word ${k}`, share: 0.1 - k / 100 })),
      seconds: [0.1, -0.2, 0.3].map((share, k) => ({ start_s: 3 * k, end_s: 3 * k + 4, share })),
      cover: [[0.1, -0.2], [0, 0.4]] } };
  const model = { modalities: { audio: { colour: "#0072B2" } }, coverage: 0.9 };
  show(document.getElementById("answer"), answer, { audio: [song], image: picture }, model);
})()"""


def test_seconds_words_and_covers(tmp_path: Path, page: Page) -> None:
    with served(Played(), tmp_path) as server:
        page.open(server.address)
        page.js(PIECES)
        assert page.text(".verdict").startswith("Not sure")
        assert "Too little" in page.text(".first")
        assert "Audio: 7 s of 240 s" in page.text(".first")
        assert "Rock, Folk" in page.text(".first")
        # Words: the strongest first, the rest behind a button.
        assert page.js("document.querySelectorAll('.line button').length") == 3
        assert "word 0\n+10.0" in page.text("#answer")
        assert page.js("[...document.querySelectorAll('button.plain')].at(-1).innerText") == (
            "Show 2 more"
        )
        page.js("[...document.querySelectorAll('button.plain')].at(-1).click()")
        assert "word 10\n+0.0" in page.text("#answer")
        # Seconds: the second stretch pushes down; a choice plays from where it begins.
        page.until("document.querySelector('audio').duration > 8.9")
        left = page.js("document.querySelectorAll('.line button')[1].style.left")
        assert left == "30%"
        # Stretches overlap; what is shown of each ends where the next begins.
        ends = page.js("[...document.querySelectorAll('.line button')].slice(0, 2)"
                       ".map((b) => b.getBoundingClientRect().right)")  # fmt: skip
        begins = page.js("[...document.querySelectorAll('.line button')].slice(1)"
                         ".map((b) => b.getBoundingClientRect().left)")  # fmt: skip
        assert ends == pytest.approx(begins, abs=0.1)
        bars = page.js("[...document.querySelectorAll('.line i')].map((i) => i.className)")
        assert bars == ["up", "down", "up"]
        page.js("document.querySelector('.line button').focus()")
        page.press("ArrowRight")
        assert "0:03 to 0:07: −20.0" in page.text(".ends")
        page.press("Enter")
        page.until("document.querySelector('audio').currentTime > 3.05")
        assert page.js("document.querySelector('audio').currentTime") < 6
        page.js("document.querySelector('audio').pause()")
        # Cover: the corner that speaks most for the genre is the bluest, another orange, one clear.
        pixel = (
            "[...document.querySelector('canvas').getContext('2d').getImageData({}, {}, 1, 1).data]"
        )
        assert page.js(pixel.format(1, 1))[2] > 200
        assert page.js(pixel.format(1, 0))[0] > 200
        assert page.js(pixel.format(0, 1))[3] == 0


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_nothing_is_wider_than_the_window(
    tmp_path: Path, page: Page, media: dict[str, Path], width: int
) -> None:
    with served(Played(reasons=reasons()), tmp_path) as server:
        page.open(server.address, width, 844)
        page.drop([media["cover"], media["song"], media["text"]])
        page.until(DONE)
        page.js(PIECES)
        assert page.js("document.documentElement.scrollWidth") <= width


def contrast(page: Page, of: str, on: str) -> float:
    """The ratio of WCAG 2, of two colours of the page by their names."""
    code = """(() => {{ const probe = document.body.appendChild(document.createElement("p"));
      const light = (name) => {{ probe.style.color = `var(${{name}})`;
        const [r, g, b] = getComputedStyle(probe).color.match(/[\\d.]+/g).map((v) => v / 255)
          .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05; }};
      const [a, b] = [light("{}"), light("{}")];
      probe.remove();
      return Math.max(a, b) / Math.min(a, b); }})()"""
    return float(page.js(code.format(of, on)))


@pytest.mark.parametrize("dark", [False, True])
def test_everything_can_be_read(real: Served, page: Page, dark: bool) -> None:
    page.open(real.address, dark=dark)
    ground = page.js("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(22, 25, 29)" if dark else "rgb(255, 255, 255)")
    for of, on in (("--ink", "--page"), ("--faint", "--page"), ("--faint", "--soft"),
                   ("--accent", "--page"), ("--on-accent", "--accent"), ("--ink", "--warn"),
                   ("--ink", "--bad")):  # fmt: skip
        assert contrast(page, of, on) >= 4.5, (of, on)
    for of in ("--down", "--accent"):
        assert contrast(page, of, "--soft") >= 3, of


def test_a_server_that_has_ended_is_said(tmp_path: Path, page: Page) -> None:
    with served(Played(), tmp_path) as server:
        page.open(server.address)
    page.js("document.getElementById('words').value = 'words'")
    page.js("document.getElementById('words').dispatchEvent(new Event('input'))")
    page.js("document.getElementById('go').click()")
    page.until("document.querySelector('#fault .bad')")
    assert "Is mmgenre serve still running?" in page.text("#fault")
    page.js("1")
    page.faults[:] = [fault for fault in page.faults if "ERR_CONNECTION_REFUSED" not in fault]
