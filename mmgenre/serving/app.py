"""The addresses of the page: its three files, what the model is, and /predict."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mmgenre.errors import MmgenreError, Refusal
from mmgenre.fusion.prediction import one_item
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES, SUFFIXES
from mmgenre.serving.uploads import Limits, Upload, UploadError, body, receive

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/draw.js": ("draw.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
COVERAGE = 0.9  # of the genres that an item may have


class Server:
    """A tagger that one thread uses, and the uploads that wait for it."""

    def __init__(
        self, tagger: GenreTagger, uploads: Path, limits: Limits, risk: float | None = None
    ) -> None:
        self._tagger = tagger
        self._risk = risk
        self._uploads = uploads
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "tagger")
        self._n_served = 0

    def app(self) -> Starlette:
        """Without `Guard`, which knows the names of the host."""
        pages = [Route(path, partial(_file, path), methods=["GET"]) for path in FILES]
        model = Route("/model", self._model, methods=["GET"])
        return Starlette(routes=[*pages, model, Route("/predict", self._predict, methods=["POST"])])

    def close(self) -> None:
        """What waits is not begun any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _model(self, request: Request) -> Response:
        del request
        known = {m: MODALITIES[m] for m in self._tagger.modalities if m in self._limits.files}
        return JSONResponse(
            {
                "name": self._tagger.name,
                "genres": len(self._tagger.fusion.labels.names),
                "licence": self._tagger.licence,
                "coverage": COVERAGE,
                "modalities": {m: {"colour": info.colour} for m, info in known.items()},
                "suffixes": {medium: sorted(names) for medium, names in SUFFIXES.items()},
                "file_mb": dict(self._limits.file_mb),
                "files": dict(self._limits.files),
                "whole_mb": self._limits.whole_mb,
            }
        )

    async def _predict(self, request: Request) -> Response:
        if self._n_served == self._limits.at_once:
            served = f"{self._n_served} uploads are being served"
            return _refused(503, f"{served}. Try again in a moment.", {"retry-after": "5"})
        self._n_served += 1
        chunks = body(request, self._limits)
        try:
            with TemporaryDirectory(prefix="upload-", dir=self._uploads) as folder:
                kind = request.headers.get("content-type", "")
                upload = await receive(chunks, kind, Path(folder), self._limits)
                return await self._judged(request, upload)
        except UploadError as error:
            return _refused(error.status, str(error))
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody reads
        except MmgenreError as error:
            return _refused(500, str(error))
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return _refused(500, "The server has failed; its terminal says why.")
        finally:
            self._n_served -= 1

    async def _judged(self, request: Request, upload: Upload) -> Response:
        """The answer, when the tagger is free; nothing is done for a browser that has gone."""
        gone = threading.Event()

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            gone.set()

        watching = asyncio.ensure_future(watch())
        try:
            loop = asyncio.get_running_loop()
            work = partial(self._answer, upload, gone)
            status, content = await loop.run_in_executor(self._thread, work)
            return JSONResponse(content, status)
        finally:
            watching.cancel()

    def _answer(self, upload: Upload, gone: threading.Event) -> tuple[int, dict[str, Any]]:
        """HTTP status and content: the prediction as `Prediction` has it, and what was refused."""
        if gone.is_set():
            return 400, {}
        image, text = next(iter(upload.image), None), next(iter(upload.text), None)
        item = one_item(upload.audio, text, image)
        try:
            self._tagger.check_modalities(item)
        except ValueError as error:
            raise UploadError(400, str(error)) from None
        # In another process, which a decoder may end, and which is ended if it takes too long.
        predictions, refused = self._tagger.predict_manifest(
            Manifest([item]),
            explain=True,
            risk=self._risk,
            coverage=COVERAGE,
            workers=2,
            limit_s=self._limits.reading_s,
        )
        told = told_refusals(refused, upload)
        if not predictions:
            return 422, {"error": "Nothing of this can be used.", "refused": told}
        return 200, {**asdict(predictions[0]), "refused": told}


def told_refusals(refused: list[Refusal], upload: Upload) -> list[dict[str, str]]:
    """Each file that was refused by the name that its sender knows, once a code."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for refusal in refused:
        where, _, what = refusal.detail.removesuffix(f" [{refusal.code}]").partition(": ")
        paths = {str(path): name for path, name in upload.names.items()}
        typed = "your text" if refusal.modality == "text" else refusal.modality
        file = paths.get(where, typed)
        told = {"file": file, "modality": refusal.modality, "code": refusal.code, "what": what}
        found.setdefault((file, refusal.code), told)
    return list(found.values())


async def _file(path: str, request: Request) -> Response:
    del request
    name, kind = FILES[path]
    return Response((PAGE / name).read_bytes(), media_type=kind)


def _refused(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": text}, status, headers=headers)
