"""What `mmgenre predict` does: genres of whatever is given, returned or written to a file.

There are three ways: by a trained model in memory, by a trained model in parts that are files
(`by_parts`: nothing is lost when it is killed, and any number of items fits), and by the names of
genres alone (`zero_shot`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from mmgenre.datasets.layouts import By
from mmgenre.datasets.paths import items_at
from mmgenre.disk.locks import replacing_alone
from mmgenre.disk.provenance import Provenance
from mmgenre.errors import Refusal
from mmgenre.fusion import columns
from mmgenre.fusion.by_parts import (
    Loading,
    ShardPredicted,
    model_digest,
    predict_shard,
    predicted,
    work_of,
)
from mmgenre.fusion.prediction import Prediction, check_is_there, one_item, the_one
from mmgenre.fusion.ranking import Asked
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.fusion.texts import Text, shown
from mmgenre.fusion.zero_shot import predict_zero_shot
from mmgenre.items.manifest import Manifest
from mmgenre.progress import Progress, silent
from mmgenre.reading.extraction import Shard

VERSION = 1  # of files of scores
Format = Text | Literal["parquet", "hdf5"]
WITH_REASONS = ("table", "json", "jsonl")
OF_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "parquet": (".parquet",),
    "hdf5": (".h5", ".hdf5"),
}  # format -> its suffixes


@dataclass(frozen=True)
class Source:
    """Items to name genres of: those at paths, or of a manifest, or one item of some media.

    A manifest's items may have vectors made elsewhere; vectors alone are items, too.
    """

    paths: Sequence[str] | None = None  # see `datasets.paths.items_at`
    manifest: Path | None = None
    # As of `GenreTagger.predict_manifest`.
    features: Mapping[str, Path] = field(default_factory=dict)
    audio: Sequence[Path] = ()
    text: Path | None = None
    image: Path | None = None
    media_roots: Sequence[Path] = ()
    by: By = "track"

    def __post_init__(self) -> None:
        listed = self.manifest is not None or bool(self.features)
        if self.is_one == (listed or self.paths is not None):
            raise ValueError(
                "give paths, or --audio, --text or --image (any of them) for one item, or "
                "--manifest, --features or both"
            )
        if self.paths is not None and listed:
            raise ValueError("give paths, or --manifest and --features, not both")

    @property
    def is_one(self) -> bool:
        """Whether it is one item of some media."""
        return bool(self.audio or self.text or self.image)

    @property
    def is_listed(self) -> bool:
        """Whether all items are listed in files, so that they are the same at every call."""
        return not self.is_one and all(p.lower().endswith(".csv") for p in self.paths or ())

    def items(self, covers: Path, progress: Progress) -> tuple[Manifest | None, list[Refusal]]:
        """The items, and files whose tags have faults; None: those that have vectors.

        `covers` is a folder for the covers that audio files hold.

        Raises:
            InputError: of one item nothing is there.
            ManifestError: of the manifest, or of a path that is not there.
        """
        if self.manifest is not None:
            return Manifest.read(self.manifest, media_roots=self.media_roots), []
        if self.is_one:
            item = one_item(self.audio, self.text, self.image)
            check_is_there(item)
            return Manifest([item]), []
        if self.paths is None:
            return None, []
        listed, faults = items_at(
            self.paths,
            covers=covers,
            by=self.by,
            media_roots=self.media_roots,
            progress=progress,
        )
        told = [(fault.path, f"{fault.path}: {fault.reason}: {fault.detail}") for fault in faults]
        return listed, [Refusal(path, "all", "unreadable", detail) for path, detail in told]


@dataclass(frozen=True)
class Output:
    """Where predictions go, and in which format.

    `parquet` and `hdf5` have the scores of all genres: see `write_parquet` and `write_hdf5`.
    """

    form: Format = "table"
    top: int = 5  # genres of an item
    out: Path | None = None  # None: they are returned

    def __post_init__(self) -> None:
        suffixes = OF_COLUMNS.get(self.form)
        if suffixes and self.out is None:
            raise ValueError(f"format {self.form} is written to a file: give --out FILE")
        for form, own in OF_COLUMNS.items():
            if self.out is not None and form != self.form and self.out.suffix.lower() in own:
                raise ValueError(
                    f"{self.out}: its suffix is that of {form}, and the format is {self.form}; "
                    f"give --format {form}, or a file with another suffix"
                )

    def check(self) -> None:
        """MmgenreError if it will not be possible to write; asked before hours of work."""
        if self.out is not None and self.form == "parquet":
            columns.check_parquet(self.out)
        if self.out is not None and self.form == "hdf5":
            columns.check_hdf5(self.out)

    def write(
        self,
        predictions: Iterable[Prediction],
        refused: Sequence[Refusal],
        genres: Sequence[str],
        provenance: Provenance,
    ) -> int:
        """Writes the file, whole or not at all; the number of predictions, of which one is held.

        `refused` is read after the last of them.
        """
        assert self.out is not None
        n = 0

        def counted() -> Iterator[Prediction]:
            nonlocal n
            for prediction in predictions:
                n += 1
                yield prediction

        if self.form == "parquet":
            columns.write_parquet(self.out, counted(), genres, self.top, provenance)
        elif self.form == "hdf5":
            columns.write_hdf5(self.out, counted(), refused, genres, provenance)
        else:
            with (
                replacing_alone(self.out) as temporary,
                temporary.open("w", encoding="utf-8", newline="") as file,
            ):
                file.writelines(self.text(counted(), refused))
        return n

    def text(self, predictions: Iterable[Prediction], refused: Sequence[Refusal]) -> Iterator[str]:
        """Predictions as text, in pieces: see `shown`."""
        assert self.form != "parquet"
        assert self.form != "hdf5"
        return shown(predictions, refused, self.form, self.top)


@dataclass
class Named:
    """What is done: predictions in a file, or here if there is none or they were to be kept."""

    items: Manifest | None = None
    predictions: list[Prediction] = field(default_factory=list)
    n_written: int = 0  # items in the file
    refused: list[Refusal] = field(default_factory=list)
    notes: tuple[str, ...] = ()  # of the model
    shard: ShardPredicted | None = None  # instead of predictions


@dataclass(frozen=True)
class Naming:
    """A task for `name_genres`; ValueError if its parts do not go together.

    Args:
        model: a trained one, or the name of one that knows words, if there are `labels`.
        source: the items.
        output: where predictions go.
        asked: what is asked of them.
        labels: the names of genres, by which alone they are judged; None: by a trained model.
        keep: predictions are returned, too, if they are written.
        shard: predicts its share of a manifest for a later call without it.
        dask: the address of a Dask cluster whose workers predict, or "local".
    """

    model: Loading
    source: Source
    output: Output = field(default_factory=Output)
    asked: Asked = field(default_factory=Asked)
    labels: Sequence[str] | None = None
    keep: bool = False
    shard: Shard | None = None
    dask: str | None = None

    def __post_init__(self) -> None:
        own = self.source.features or self.model.fusion or self.model.allow
        if self.labels is not None and own:
            raise ValueError("--zero-shot and --labels belong together, with media alone")
        if self.asked.explain and (self.labels is not None or self.output.form not in WITH_REASONS):
            raise ValueError("--explain: of a trained model, as table, json or jsonl")
        if self.asked.risk is not None and self.labels is not None:
            raise ValueError("--risk: of a trained model, whose scores are probabilities")
        if self.shard is not None and self.dask is not None:
            raise ValueError("give --shard or --dask, not both")
        if (self.shard or self.dask) is not None and not self.is_in_parts:
            raise ValueError(
                "--shard and --dask: of manifests or --features, with --out FILE, without "
                "--zero-shot and --write-tags; of a folder of music make a manifest: mmgenre "
                "manifest build library"
            )

    @property
    def is_in_parts(self) -> bool:
        """Whether predictions are made in parts that are files, and go on after a kill."""
        to_file = self.output.out is not None and not self.keep
        return to_file and self.labels is None and self.source.is_listed


def name_genres(
    task: Naming,
    *,
    workers: int | None = None,
    progress: Progress = silent,
    tell: Callable[[str], object] = lambda _: None,
) -> Named:
    """Predicts, and writes if there is a file to write to.

    `workers` are the processes that read media; None: one per core. `tell` is called with what is
    to be known of the model before it begins.

    Raises:
        UnreadModalityError: the model was not trained on a modality of the one item.
        InputError: nothing of the one item can be used.
        MmgenreError: as of `Source.items`, `GenreTagger.from_pretrained` and `predict_manifest`; or
            a package is missing.
    """
    if task.shard is None:
        task.output.check()
    how: dict[str, Any] = {"workers": workers, "progress": progress}
    with TemporaryDirectory(prefix="mmgenre-") as covers:
        items, refused = task.source.items(Path(covers), progress)
        named = Named(items, refused=refused)
        if task.labels is not None:
            assert items is not None
            genres, model = tuple(task.labels), {}
            named.predictions, own = predict_zero_shot(task.model.run, genres, items, **how)
            named.refused += own
        else:
            tagger = task.model.load()
            tell(f"fusion: {tagger.name}")
            if tagger.licence is not None:
                tell(f"licence of the frozen models: {tagger.licence}")
            named.notes = tagger.notes
            if task.is_in_parts:
                _by_parts(task, tagger, named, how)
                return named
            genres, model = tagger.genres, {"model": model_digest(tagger)}
            if task.source.is_one and items is not None:
                tagger.check_modalities(next(iter(items)))
            for some, own in tagger.predict_parts(items, task.source.features, task.asked, **how):
                named.predictions += some
                named.refused += own
    if task.source.is_one:
        the_one(named.predictions, named.refused)
    if task.output.out is not None:
        made = _provenance(task, genres, model)
        named.n_written = task.output.write(named.predictions, named.refused, genres, made)
    return named


def _by_parts(task: Naming, tagger: GenreTagger, named: Named, how: Mapping[str, Any]) -> None:
    """Predicts a shard, or what is missing, and puts all parts into one file."""
    given, asked, out = task.source.features, task.asked, task.output.out
    assert out is not None
    with work_of(tagger, named.items, out, features=given, asked=asked) as work:
        if task.shard is not None:
            named.shard = predict_shard(work, task.shard, **how)
            named.refused += named.shard.refused
            return
        with predicted(work, **how, dask=task.dask, loading=task.model) as (stream, own):
            named.refused += own
            made = _provenance(task, tagger.genres, {"model": model_digest(tagger)})
            named.n_written = task.output.write(stream, named.refused, tagger.genres, made)


def _provenance(task: Naming, genres: Sequence[str], model: Mapping[str, str]) -> Provenance:
    """`model`: the digest of a trained one."""
    parameters: dict[str, Any] = {"genres": list(genres)}
    parameters |= {"asked": asdict(task.asked)} if model else {"names_by": task.model.run}
    return Provenance("named", VERSION, parameters, model)
