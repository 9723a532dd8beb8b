"""Questions to an annotation service over HTTP: retried, and asked only once in a lifetime."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlencode

from mmgenre.disk.files import cache_folder, write_json
from mmgenre.errors import InputError
from mmgenre.text.entities.annotation import Annotation

BUSY = frozenset({429, 500, 502, 503, 504})
# Answers are kept, refusals end with the store of inputs they stand in.
ADVICE = "the answers so far are kept; to ask again, remove the run's inputs/text.h5 and extract"
_WRITING = Lock()  # two threads may be given the same text

Parse = Callable[[Any, str], Sequence[Annotation]]


@dataclass(frozen=True)
class Patience:
    """Seconds an answer may take, how often to ask, and the first pause; each next is twice it."""

    timeout_s: float = 30.0
    tries: int = 5
    pause_s: float = 0.5
    longest_pause_s: float = 60.0


class Service:
    """One service under one URL with one set of parameters; safe to use from several threads."""

    def __init__(
        self,
        name: str,
        url: str,
        parameters: Mapping[str, str],
        parse: Parse,
        *,
        post: bool,
        secret: Mapping[str, str] | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Describes the service.

        Args:
            name: the service's name.
            url: where it answers.
            parameters: sent with every text.
            parse: answer and text -> annotations; LookupError, TypeError or ValueError if it is
                not an answer.
            post: whether parameters and text travel in the body.
            secret: parameters that are sent, but neither kept nor shown.
            patience: how long to wait and how often to ask.
        """
        self._name, self._url, self._parameters, self._parse = name, url, parameters, parse
        self._post, self._secret = post, secret or {}
        self._patience = patience or Patience()
        self._down = False  # then a text gets one try, so that a dead service does not take days

    def annotate(self, text: str) -> Sequence[Annotation]:
        """The service's annotations of a text.

        Raises:
            InputError: annotation: no answer, or one that cannot be understood.
        """
        kept = self._kept(text)
        # Not there, or damaged on disk: it is asked for and written anew.
        with suppress(OSError, LookupError, TypeError, ValueError):
            return self._parse(json.loads(kept.read_bytes()), text)
        body = self._ask(text)
        try:
            answer = json.loads(body)
            annotations = self._parse(answer, text)
        except (LookupError, TypeError, ValueError) as error:
            shown = self._public(body[:200].decode(errors="replace"))
            raise self._error(f"not an answer of {self._name} ({error!r}): {shown!r}") from None
        try:
            with _WRITING:
                write_json(kept, answer)
        except OSError as error:
            detail = f"cannot be kept at {kept} ({error}); name a folder with MMGENRE_CACHE"
            raise self._error(f"the answer {detail}") from None
        return annotations

    def _kept(self, text: str) -> Path:
        """Where the answer to a text is kept."""
        question = [self._name, self._url, sorted(self._parameters.items()), text]
        digest = hashlib.sha256(json.dumps(question).encode()).hexdigest()
        return cache_folder("annotations", self._name, digest[:2], f"{digest}.json")

    def _ask(self, text: str) -> bytes:
        query = urlencode({"text": text, **self._parameters, **self._secret})
        url = self._url if self._post else f"{self._url}?{query}"
        request = urllib.request.Request(url, query.encode() if self._post else None)
        request.add_header("Accept", "application/json")
        request.add_header("User-Agent", "mmgenre")
        pause_s, tries = self._patience.pause_s, self._patience.tries
        for attempt in range(1, tries + 1):
            wait_s, down = pause_s, True
            try:
                with urllib.request.urlopen(request, timeout=self._patience.timeout_s) as answer:
                    body: bytes = answer.read()
            except urllib.error.HTTPError as error:
                with error:
                    said = self._public(error.read(200).decode(errors="replace"))
                detail = f"HTTP {error.code} {error.reason}: {said!r}"
                if error.code not in BUSY:
                    raise self._error(detail) from None
                if error.code == 429:  # alive, and tells how long it wants to be left alone
                    down = False
                    wait_s = max(wait_s, _seconds(error.headers.get("Retry-After")))
            except (OSError, http.client.HTTPException) as error:
                detail = f"no answer ({self._public(str(error) or type(error).__name__)})"
            else:
                self._down = False
                return body
            if attempt == tries or (down and self._down):
                break
            time.sleep(min(wait_s, self._patience.longest_pause_s))
            pause_s *= 2
        self._down = down
        raise self._error(f"{detail}; asked {attempt} time(s); {ADVICE}")

    def _error(self, detail: str) -> InputError:
        return InputError("annotation", self._url, detail)

    def _public(self, words: str) -> str:
        """Words of a server or a library, without what is secret."""
        for value in self._secret.values():
            words = words.replace(value, "***")
        return words


def code_point_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Offsets in UTF-16 units, as services written in Java count, -> in code points.

    >>> code_point_span("🎷 jazz", 3, 7)
    (2, 6)

    Raises:
        ValueError: outside the text.
    """
    units = text.encode("utf-16-le", "surrogatepass")
    if not 0 <= start < end <= len(units) // 2:
        raise ValueError(f"span {start}..{end} of a text of {len(units) // 2} characters")
    before, mention = units[: 2 * start], units[2 * start : 2 * end]
    first = len(before.decode("utf-16-le", "replace"))
    return first, first + len(mention.decode("utf-16-le", "replace"))


def _seconds(header: str | None) -> float:
    """Retry-After in seconds; a date in its place counts as nothing."""
    return float(header) if header and header.strip().isdecimal() else 0.0
