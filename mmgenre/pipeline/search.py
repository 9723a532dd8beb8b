"""Words, a cover or a track -> the nearest items of a run, in the joint space of its modalities."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgenre.disk.bundle import bundle_fingerprint, bundle_provenance
from mmgenre.disk.files import finished_folders
from mmgenre.disk.store import FeatureStore, fingerprint_of, group_names
from mmgenre.errors import BundleError, MmgenreError, Refusal, StoreError
from mmgenre.fusion.approximate import IndexedViews, index_folder, write_index
from mmgenre.fusion.in_memory import Cover, Track, as_files
from mmgenre.fusion.nearest import Gallery, Match, Views, mean_direction
from mmgenre.fusion.prediction import check_is_there, one_item, the_one
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.fusion.whole import ENCODERS, MODEL, SPACE
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import modality_of
from mmgenre.pipeline.align import joint_store
from mmgenre.pipeline.run import DEFAULT_RUN, open_run
from mmgenre.progress import Progress, silent


@dataclass(frozen=True)
class Hit:
    """An item of the run, and how near it is."""

    id: str
    modality: str  # the one of its modalities that is nearest
    similarity: float  # mean cosine over the views of that modality, -1 to 1
    artist: str
    album: str
    genres: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """The nearest items, the nearest first."""

    hits: tuple[Hit, ...]
    used: tuple[str, ...]  # the modalities of the query
    refused: tuple[Refusal, ...] = ()  # media of the query that could not be used


@dataclass(frozen=True)
class Space:
    """A joint space of a run whose items can be searched."""

    fusion: str  # one that carries it, with the encoders of its inputs
    folder: Path
    inputs: tuple[str, ...]  # the groups of its store

    @property
    def store(self) -> Path:
        return joint_store(self.folder)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(modality_of, self.inputs)))


class Search(AbstractContextManager["Search"]):
    """The items of a run by their joint vectors, opened once and searched many times.

    with Search.open("runs/mine") as search:
        hits = search.find(text="slow sad piano", top=3).hits
    """

    def __init__(
        self, tagger: GenreTagger, space: Space, manifest: Manifest, *, approximate: bool = False
    ) -> None:
        """`approximate`: by the index beside the joint space; see `build_index`."""
        self.tagger, self.space, self.manifest = tagger, space, manifest
        self._views: dict[str, Views | IndexedViews] = {}
        with ExitStack() as opened:
            for modality in space.modalities:
                own = [
                    opened.enter_context(FeatureStore(space.store, name))
                    for name in space.inputs
                    if modality_of(name) == modality
                ]
                self._views[modality] = (
                    IndexedViews(index_folder(space.store), own)
                    if approximate
                    else Views([Gallery(store) for store in own])
                )
            self._opened = opened.pop_all()

    def __repr__(self) -> str:
        """`Search('multi-logistic-a+t', 160 items by audio, text)`."""
        n, by = len(self.manifest), ", ".join(self.space.modalities)
        return f"{type(self).__name__}({self.tagger.name!r}, {n:,} items by {by})"

    @classmethod
    def open(
        cls,
        run: Path | str = DEFAULT_RUN,
        fusion: str | None = None,
        *,
        approximate: bool = False,
        entities_url: str | None = None,
        allow: Collection[str] = (),
    ) -> Search:
        """Opens a run's joint space; `entities_url` and `allow` as for `GenreTagger`.

        `fusion`: one with the joint space that is meant, where a run has several of as many inputs.

        Raises:
            MmgenreError: the run has no joint space, several, or one that was made anew since.
        """
        folder = Path(run)
        manifest = open_run(folder).manifest
        space = space_of(folder, fusion)
        tagger = GenreTagger.from_pretrained(
            folder, space.fusion, entities_url=entities_url, allow=allow
        )
        return cls(tagger, space, manifest, approximate=approximate)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()

    def find(
        self,
        audio: Track | Sequence[Track] | None = None,
        text: Path | str | None = None,
        image: Cover | None = None,
        *,
        sr: int | None = None,
        top: int = 10,
        within: str | None = None,
        progress: Progress = silent,
    ) -> Found:
        """The `top` items nearest to what is given, each once, by the nearest of its modalities.

        Media are given as for `GenreTagger.predict`. Of several, the mean of their joint vectors,
        each of length 1, is the query. `within`: the modality whose vectors are searched; None:
        all.

        Raises:
            ValueError: nothing is given, or a modality that is not in the joint space.
            InputError: nothing that is given can be used; it is of the first damaged file.
        """
        if within is not None and within not in self.space.modalities:
            known = ", ".join(self.space.modalities)
            raise ValueError(f"{within}: not in this joint space, which is of {known}")
        with as_files(audio, sr, image) as (tracks, cover):
            item = one_item(tracks, text, cover)
            check_is_there(item)
            self.tagger.check_modalities(item)
            table, refused = self.tagger.joint_vectors(Manifest([item]), progress=progress)
        here = [name for name, present in table.present.items() if present[0]]
        if not here:
            the_one([], refused or [_says_nothing(item.media)])
        query = mean_direction(table.x[name][0] for name in here)
        of = self.space.modalities if within is None else (within,)
        best: dict[str, tuple[Match, str]] = {}
        for modality in of:
            for match in self._views[modality].nearest(query, top):
                if match.id not in best or match.similarity > best[match.id][0].similarity:
                    best[match.id] = match, modality
        ranked = sorted(best.values(), key=lambda found: -found[0].similarity)[:top]
        used = dict.fromkeys(map(modality_of, here))
        return Found(tuple(self._hit(*m) for m in ranked), tuple(used), tuple(refused))

    def _hit(self, match: Match, modality: str) -> Hit:
        if match.id not in self.manifest:
            raise StoreError(
                f"{self.space.store}: {match.id!r} is no item of the run any more; bring it up to "
                "date: mmgenre fuse --joint --run RUN"
            )
        item = self.manifest[match.id]
        about = item.artist, item.album, item.labels
        return Hit(match.id, modality, match.similarity, *about)


def _says_nothing(media: Collection[str]) -> Refusal:
    what = ", ".join(media)
    return Refusal("item", what, "missing", f"{what}: says nothing to the encoders [missing]")


def space_of(run: Path, fusion: str | None = None) -> Space:
    """The joint space of a run that has most inputs, or the one of a fusion.

    Raises:
        MmgenreError: there is none, or there are several, or its vectors are of another one.
    """
    again = f"mmgenre fuse --joint --run {run}"
    spaces: dict[str, Path] = {}
    for folder in finished_folders(run / "joint"):
        if (fingerprint := bundle_fingerprint(folder)) is not None:
            spaces[fingerprint] = folder
    carried: dict[str, list[tuple[int, str]]] = {}  # space -> (number of encoders, fusion)
    for folder in finished_folders(run / "fusion"):
        model = folder / MODEL
        made = bundle_provenance(model)
        space = (made or {}).get("parents", {}).get(SPACE)
        if space is not None and fusion in (None, folder.name):
            n = len(finished_folders(model / ENCODERS))
            carried.setdefault(space, []).append((n, folder.name))
    if not carried:
        of = "" if fusion is None else f" of a fusion {fusion!r}"
        raise MmgenreError(f"{run}: has no joint space{of} to search in; make one: {again}")
    if not (current := [space for space in carried if space in spaces]):
        raise BundleError(f"{run / 'joint'}: the joint space was made anew since; run {again}")
    found = [_space(spaces[space], max(carried[space])[1], space, again) for space in current]
    most = max(len(space.inputs) for space in found)
    found = [space for space in found if len(space.inputs) == most]
    if len(found) > 1:
        names = ", ".join(sorted(space.fusion for space in found))
        raise MmgenreError(f"{run}: has several joint spaces; name the fusion of one: {names}")
    return found[0]


def _space(folder: Path, fusion: str, fingerprint: str, again: str) -> Space:
    """A joint space whose vectors are its own."""
    store = joint_store(folder)
    inputs = group_names(store)
    if not inputs or any(fingerprint_of(store, name) != fingerprint for name in inputs):
        raise StoreError(f"{store}: holds no vectors of the joint space {folder.name}; run {again}")
    return Space(fusion, folder, inputs)


def build_index(
    run: Path | str = DEFAULT_RUN, fusion: str | None = None, *, progress: Progress = silent
) -> Path:
    """Writes the index for `Search.open(approximate=True)`; returns its folder.

    For more items than an exact search is quick for, which are millions. Needs the extra `search`.
    """
    space = space_of(Path(run), fusion)
    return write_index(space.store, space.inputs, progress=progress)


def as_plain(found: Found) -> dict[str, Any]:
    """Plain data for JSON."""
    return {
        "used": list(found.used),
        "hits": [{**vars(hit), "genres": list(hit.genres)} for hit in found.hits],
        "refused": [vars(refusal) for refusal in found.refused],
    }
