"""Annotation services over HTTP: DBpedia Spotlight and Babelfy.

Requests are retried, and each text is requested only once: answers are kept in the cache.

References:
    Daiber et al., "Improving efficiency and accuracy in multilingual entity extraction",
    I-Semantics 2013. The annotate address of a Spotlight server is for instance
    https://api.dbpedia-spotlight.org/en/annotate or http://localhost:2222/rest/annotate.

    Moro, Raganato and Navigli, "Entity linking meets word sense disambiguation: a unified
    approach", TACL 2, 2014: Babelfy, the service of the paper, with BabelNet's entities. Its
    address is https://babelfy.io/v1/disambiguate; it requires a key.
"""

import hashlib
import http.client
import ipaddress
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPMessage
from threading import Lock
from typing import IO, Any
from urllib.parse import urlencode, urlsplit
from urllib.request import Request

from mmgenre.disk.files import cache_folder
from mmgenre.disk.locks import replacing_alone
from mmgenre.errors import InputError, MmgenreError
from mmgenre.text.entities.annotation import Annotation
from mmgenre.text.entities.knowledge import KnowledgeBase

KEY_VARIABLE = "MMGENRE_BABELFY_KEY"
# Spotlight names the same types in several vocabularies; DBpedia's are the most specific.
TYPE_PREFIX = "DBpedia:"
HEADERS = {"Accept": "application/json", "User-Agent": "mmgenre"}
BUSY = frozenset({429, 500, 502, 503, 504})
# Answers stay in the cache; refusals stay in the store of inputs.
ADVICE = (
    "the answers so far are kept; to ask again, remove the run's inputs/text.h5 and run "
    "mmgenre extract-features"
)
_WRITING = Lock()  # two threads may have the same text


class _OwnHostOnly(urllib.request.HTTPRedirectHandler):
    """Follows a service to another path, and never to another host or out of https."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            detail = f"{msg}: leads to another address, {newurl}, which is not asked"
            raise urllib.error.HTTPError(req.full_url, code, detail, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_OwnHostOnly)


def is_private_address(url: str) -> bool:
    """Whether texts sent there are read by nobody on the way: https, or this machine.

    >>> [is_private_address(u) for u in ("https://a.org/x", "http://localhost:2222/x")]
    [True, True]
    >>> [is_private_address(u) for u in ("http://a.org/x", "http://localhost.a.org/x")]
    [False, False]
    """
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return bool(parts.hostname)
    with suppress(ValueError):
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    return False


@dataclass
class Service:
    """One service at one URL with one set of parameters; safe to use from several threads."""

    name: str
    url: str
    parameters: Mapping[str, str]  # sent with every text
    # Of (answer, text); raises LookupError, TypeError or ValueError if the answer is not valid.
    parse: Callable[[Any, str], Sequence[Annotation]]
    post: bool  # whether parameters and text are sent in the body
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)  # neither kept nor shown
    timeout_s: float = 30.0  # of a request
    tries: int = 5
    pause_s: float = 0.5  # before the second request; each pause doubles
    longest_pause_s: float = 60.0
    # The last request failed. Each text gets one request then, or a run would wait for days.
    is_down: bool = field(default=False, init=False)

    def annotate(self, text: str) -> Sequence[Annotation]:
        """Raises InputError (annotation) if there is no answer, or one that is not valid."""
        question = [self.name, self.url, sorted(self.parameters.items()), text]
        digest = hashlib.sha256(json.dumps(question).encode()).hexdigest()
        kept = cache_folder("annotations", self.name, digest[:2], f"{digest}.json")
        # Missing or damaged on disk: it is requested and written again.
        with suppress(OSError, LookupError, TypeError, ValueError):
            return self.parse(json.loads(kept.read_bytes()), text)
        body = self._request(text)
        try:
            answer = json.loads(body)
            annotations = self.parse(answer, text)
        except (LookupError, TypeError, ValueError) as error:
            shown = self._public(body[:200].decode(errors="replace"))
            raise self._error(f"not an answer of {self.name} ({error!r}): {shown!r}") from None
        try:
            with _WRITING, replacing_alone(kept) as temporary:
                temporary.write_bytes(body)
        except OSError as error:
            raise self._error(
                f"the answer cannot be kept at {kept} ({error}); choose another folder with the "
                "environment variable MMGENRE_CACHE"
            ) from None
        return annotations

    def _request(self, text: str) -> bytes:
        query = urlencode({"text": text, **self.parameters, **self.secret})
        url, data = (self.url, query.encode()) if self.post else (f"{self.url}?{query}", None)
        request = urllib.request.Request(url, data, HEADERS)
        pause_s = self.pause_s
        for attempt in range(1, self.tries + 1):
            wait_s, down = pause_s, True
            try:
                with _OPENER.open(request, timeout=self.timeout_s) as answer:
                    body: bytes = answer.read()
                self.is_down = False
                return body
            except urllib.error.HTTPError as error:
                with error:
                    reply = self._public(error.read(200).decode(errors="replace"))
                detail = f"HTTP {error.code} {error.reason}: {reply!r}"
                if error.code not in BUSY:
                    raise self._error(detail) from None
                if error.code == 429:  # too many requests: not down
                    down = False
                    header = error.headers.get("Retry-After") or ""
                    if header.strip().isdecimal():  # in seconds; a date is ignored
                        wait_s = max(wait_s, float(header))
            except (OSError, http.client.HTTPException) as error:
                detail = f"no answer ({self._public(str(error) or type(error).__name__)})"
            if attempt == self.tries or (down and self.is_down):
                break
            time.sleep(min(wait_s, self.longest_pause_s))
            pause_s *= 2
        self.is_down = down
        raise self._error(f"{detail}; asked {attempt} time(s); {ADVICE}")

    def _error(self, detail: str) -> InputError:
        return InputError("annotation", self.url, detail)

    def _public(self, text: str) -> str:
        """A text of the server or a library, without what is secret."""
        for value in self.secret.values():
            text = text.replace(value, "***")
        return text


def spotlight(
    url: str, confidence: float, base: KnowledgeBase | None = None, **patience: Any
) -> Service:
    """DBpedia Spotlight; the server leaves out links below `confidence`.

    Categories come from `base`, whose entities are DBpedia addresses or their last part (entities
    that it lacks have no categories); without a base they are the DBpedia types in the answer.
    `patience`: fields of `Service`.
    """

    def parse(answer: Any, text: str) -> Sequence[Annotation]:
        if not isinstance(answer, dict) or not {"@text", "Resources"} & answer.keys():
            raise ValueError("neither @text nor Resources")
        return [annotation(found, text) for found in answer.get("Resources", [])]

    def annotation(found: Any, text: str) -> Annotation:
        uri, start = str(found["@URI"]), int(found["@offset"])
        n_units = len(str(found["@surfaceForm"]).encode("utf-16-le")) // 2
        span = code_point_span(text, start, start + n_units)
        types = [part.strip() for part in str(found.get("@types", "")).split(",")]
        own = [t.removeprefix(TYPE_PREFIX) for t in types if t.startswith(TYPE_PREFIX)]
        categories = _categories(base, uri) if base is not None else tuple(dict.fromkeys(own))
        score = float(found.get("@similarityScore", 1.0))
        return Annotation(text[slice(*span)], uri, categories, score, span)

    parameters = {"confidence": f"{confidence:g}"}
    return Service("spotlight", url, parameters, parse, post=True, **patience)


def babelfy(
    url: str, language: str, nil_threshold: float, base: KnowledgeBase, **patience: Any
) -> Service:
    """Babelfy, without the links that it scores below `nil_threshold`.

    Its answers name entities without categories. These come from `base`, whose entities are
    BabelNet numbers (bn:00015267n), DBpedia addresses or their last part. Raises MmgenreError if
    the environment has no key.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise MmgenreError(
            f"annotator babelfy needs a key: get one at https://babelnet.org/register and set the "
            f"environment variable {KEY_VARIABLE}"
        )

    def parse(answer: Any, text: str) -> Sequence[Annotation]:
        if not isinstance(answer, list):  # an object with a message, for instance: limit reached
            raise ValueError("not a list")
        found = [annotation(one, text) for one in answer]
        return [one for one in found if one.score >= nil_threshold]

    def annotation(found: Any, text: str) -> Annotation:
        fragment = found["charFragment"]  # its end is inclusive
        span = code_point_span(text, int(fragment["start"]), int(fragment["end"]) + 1)
        synset, address = str(found["babelSynsetID"]), str(found.get("DBpediaURL") or "")
        categories = _categories(base, *filter(None, (synset, address)))
        return Annotation(text[slice(*span)], synset, categories, float(found["score"]), span)

    parameters, secret = {"lang": language}, {"key": key}
    return Service("babelfy", url, parameters, parse, post=False, secret=secret, **patience)


def _categories(base: KnowledgeBase, *names: str) -> tuple[str, ...]:
    """The categories of the first name that the base knows; an address also by its last part."""
    for name in names:
        entity = base.entity(name) or base.entity(name.rsplit("/", 1)[-1])
        if entity is not None:
            return entity.categories
    return ()


def code_point_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Offsets in UTF-16 units, as in Java, -> in code points. Raises ValueError outside the text.

    >>> code_point_span("🎷 jazz", 3, 7)
    (2, 6)
    """
    units = text.encode("utf-16-le", "surrogatepass")
    if not 0 <= start < end <= len(units) // 2:
        raise ValueError(f"span {start}..{end} of a text of {len(units) // 2} characters")
    before, mention = units[: 2 * start], units[2 * start : 2 * end]
    first = len(before.decode("utf-16-le", "replace"))
    return first, first + len(mention.decode("utf-16-le", "replace"))
