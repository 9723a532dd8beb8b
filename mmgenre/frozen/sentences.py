"""Texts through sentence-transformers models, also plain ones, whose words are then averaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmgenre.errors import WeightsError
from mmgenre.frozen.known import KNOWN
from mmgenre.frozen.models import Floats, silence, strictly
from mmgenre.frozen.places import MODULES, Place
from mmgenre.frozen.settings import FrozenInput


@dataclass(frozen=True)
class Sentences:
    """A model in memory."""

    network: Any  # sentence_transformers.SentenceTransformer, which takes seconds to import
    width: int
    prompt: str  # what stands before each text, as the model was trained

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Texts -> (n, width): for each the mean over chunks that the model reads to their end."""
        rows = np.zeros((len(texts), self.width), np.float32)
        parts = [(row, part) for row, text in enumerate(texts) for part in chunks(text, self._fits)]
        if parts:
            vectors = self.network.encode(
                [self.prompt + part for _, part in parts], show_progress_bar=False
            )
            of_text = np.array([row for row, _ in parts])
            np.add.at(rows, of_text, vectors)
            rows /= np.bincount(of_text)[:, None]
        return rows

    def tokens(self, texts: Sequence[str]) -> Any:
        """Arrays (n, length) by name; of a text that is too long, the beginning."""
        own = self.network.prompts.get(self.network.default_prompt_name) or ""
        limit = self.network.max_seq_length
        return self.network.tokenizer(
            [self.prompt + own + text for text in texts],
            padding=True,
            truncation=True,
            max_length=None if limit in (None, float("inf")) else int(limit),
            return_tensors="np",
        )

    def _fits(self, text: str) -> bool:
        """Whether the model reads a text to its end; it would drop the rest silently."""
        limit = self.network.max_seq_length
        if limit is None or limit == float("inf"):
            return True
        own = self.network.prompts.get(self.network.default_prompt_name) or ""
        tokenizer = self.network.tokenizer
        special = getattr(tokenizer, "num_special_tokens_to_add", lambda: 0)  # [CLS] and [SEP]
        whole = self.prompt + own + text
        return len(tokenizer.tokenize(whole, verbose=False)) + special() <= int(limit)


def chunks(text: str, fits: Callable[[str], bool]) -> list[str]:
    """A text, halved between words until every part fits; a word that is too long is cut within.

    Halves, since the last words would weigh too much in a mean over full chunks and a short rest.

    >>> chunks("a sad song in a minor key", lambda part: len(part) <= 10)
    ['a sad song', 'in a', 'minor key']
    """
    words = text.split()
    if fits(text) or (len(words) < 2 and len(text.strip()) < 2):
        return [text]
    units, gap = (words, " ") if len(words) > 1 else (list(text.strip()), "")
    half = len(units) // 2
    return chunks(gap.join(units[:half]), fits) + chunks(gap.join(units[half:]), fits)


def load(place: Place, reads: FrozenInput) -> Sentences:
    """The model of a folder.

    Raises:
        WeightsError: parts that would run foreign code, weights that do not fit, or settings that
            it cannot follow.
    """
    if reads.layer is not None or reads.pool is not None:
        raise WeightsError(f"{reads.model}: gives one vector a text; leave layer and pool out")
    if (place.folder / MODULES).is_file():
        parts = json.loads((place.folder / MODULES).read_text("utf-8"))
        types = [str(part["type"]) for part in parts]
        foreign = [name for name in types if not name.startswith("sentence_transformers.")]
        if foreign:
            raise WeightsError(
                f"{place.folder}: {foreign[0]} is code of the model's own, which is never run; "
                "take a model that consists of sentence-transformers' modules only"
            )
    _check_weights(place)
    network = _load_silently(place.folder)
    # Not every model says how wide its vectors are.
    width = network.encode(["word"], show_progress_bar=False).shape[1]
    known = KNOWN.get(str(reads.name.name))
    return Sentences(network, width, known.prompt if known is not None else "")


def _check_weights(place: Place) -> None:
    """WeightsError: weights of the transformer are missing; the library would only warn."""
    from transformers import AutoModel

    folder = place.folder
    if (folder / MODULES).is_file():
        parts = json.loads((folder / MODULES).read_text("utf-8"))
        first = next((p for p in parts if str(p["type"]).endswith(".Transformer")), None)
        if first is None:
            return
        folder = folder / str(first.get("path", ""))
    heads = ("cls.", "lm_head", "classifier", "pooler", "embeddings.position_ids")
    strictly(AutoModel, Place(place.name, folder, place.revision, None), heads, ("pooler",))


def _load_silently(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer  # takes seconds to import

    from mmgenre.learning.devices import pick_device

    with silence():
        return SentenceTransformer(
            str(folder),
            device=str(pick_device()),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": "float32"},
        )
