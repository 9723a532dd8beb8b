"""BibTeX of what a run used: the method, the dataset, frozen models, pretrained networks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from mmgenre.datasets.sources import card_names, load_card
from mmgenre.disk.bundle import CONFIG, bundle_file
from mmgenre.frozen.citations import IMAGENET, Work, card_of, work_of
from mmgenre.frozen.licences import name_of
from mmgenre.items.modalities import MODALITIES
from mmgenre.pipeline.learn import models_of
from mmgenre.pipeline.run import SYNTHETIC, Run

METHOD = Work(
    "oramas2018multimodal",
    "Oramas, Sergio and Barbieri, Francesco and Nieto, Oriol and Serra, Xavier",
    "Multimodal Deep Learning for Music Genre Classification",
    "TISMIR 1(1)",
    2018,
    "10.5334/tismir.10",
)


@dataclass(frozen=True)
class Entry:
    """A BibTeX entry, and what in the run it is for."""

    key: str
    why: str
    bibtex: str


@dataclass(frozen=True)
class Cited:
    """Entries, each key once, and what could not be told."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...]


def cited(run: Run, datasets: Sequence[str] = ()) -> Cited:
    """What a paper about a run should cite.

    Args:
        run: the run.
        datasets: names of cards of what the manifest was built from, which it does not say.

    Raises:
        ManifestError: no such card.
    """
    entries = [Entry(METHOD.key, "the method", METHOD.bibtex), _own()]
    notes = []
    for name in datasets:
        card = load_card(name)
        works = [_work(name, k, text) for k, text in enumerate(card.citation, 1)]
        entries += [Entry(w.key, f"dataset {card.title}", w.bibtex) for w in works]
        notes.append(f"dataset {name}: licence {card.licence}")
    if not datasets and run.dataset != SYNTHETIC:
        notes.append(
            f"dataset {run.dataset}: a manifest does not say what it was built from; name it with "
            f"--dataset, one of {', '.join(card_names())}"
        )
    for entry, note in _of_models(run):
        entries += [entry] if entry is not None else []
        notes += [note] if note is not None else []
    return Cited(tuple({e.key: e for e in reversed(entries)}.values())[::-1], tuple(notes))


def _own() -> Entry:
    work = f"mmgenre {version('mmgenre')}"
    return Entry("mmgenre", "the program", f"@misc{{mmgenre,\n  title = {{{{{work}}}}}\n}}")


def _of_models(run: Run) -> Iterator[tuple[Entry | None, str | None]]:
    """Frozen models, and networks with pretrained weights: an entry of each, or why there is none.

    A frozen model's licence is told in any case.
    """
    views = [view for modality in MODALITIES for view in run.views(modality)]
    folders = [run.encoder(view.name) for view in views]
    for about in models_of(folders):
        name = str(about["model"])
        work = work_of(name) or card_of(name)
        why = f"frozen model {name}"
        entry = None if work is None else Entry(work.key, why, work.bibtex)
        lacks = "" if work_of(name) else "; its citation is not known here: see its card"
        yield entry, f"{name}: licence {name_of(about['licence'])}{lacks}"
    for folder in folders:
        if not folder.is_dir():
            continue
        config = bundle_file(folder, CONFIG)["config"]
        if config.get("weights_from"):
            network = str(config["config"]["network"])
            why = f"{folder.name}: {network} with pretrained weights"
            work = work_of(network)
            if work is not None:
                yield Entry(work.key, why, work.bibtex), None
            else:
                yield None, f"{why}: its citation is not known here"
            if config["config"]["weights"] == "imagenet":
                yield Entry(IMAGENET.key, why, IMAGENET.bibtex), None


def _work(name: str, number: int, text: str) -> Work:
    """A card's `Names: Title. Where YEAR, doi X` as a work; what it does not have is left out.

    >>> work = _work("fma", 1, "Defferrard, Benzi: FMA: A Dataset for Music Analysis. ISMIR 2017")
    >>> (work.authors, work.title, work.where, work.year)
    ('Defferrard and Benzi', 'FMA: A Dataset for Music Analysis', 'ISMIR', 2017)
    """
    doi = re.search(r",? doi (\S+)", text)
    plain = text.replace(doi[0], "") if doi else text
    names, colon, rest = plain.partition(": ")
    if not colon:
        names, rest = "", plain
    title, _, where = rest.partition(". ")
    years = re.findall(r"\b(?:19|20)\d\d\b", where)
    year = int(years[-1]) if years else 0
    where = re.sub(r",? ?\b(?:19|20)\d\d\b", "", where).strip(" ,.")
    authors = " and ".join(_names(names))
    return Work(f"{name}-{number}", authors, title.rstrip("."), where, year, doi and doi[1])


def _names(text: str) -> Iterable[str]:
    return (name.strip().replace(" et al.", " and others") for name in text.split(",") if name)
