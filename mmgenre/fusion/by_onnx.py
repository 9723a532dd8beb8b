"""Encoders of a model that was exported with ONNX: torch, which takes seconds to import, is not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmgenre.config import Settings
from mmgenre.disk.bundle import CONFIG, bundle_file, odd_as_error
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import BundleError
from mmgenre.fusion.exported import EXPORT, ONNX
from mmgenre.items.modalities import modality_of
from mmgenre.kinds import kind_of
from mmgenre.learning.kind import resolve
from mmgenre.learning.permission import checked_inputs
from mmgenre.learning.rows import Source
from mmgenre.progress import Progress, silent

RUNTIME, BATCH = "onnxruntime", 16
T = TypeVar("T")


@dataclass(frozen=True)
class OnnxEncoder:
    """An encoder as a file: views (n, ...) -> embeddings (n, width)."""

    path: Path
    source: Callable[[FeatureStore], Source]

    def embed(
        self, source: Source, ids: Sequence[str], *, task: str, progress: Progress = silent
    ) -> NDArray[np.float32]:
        """Embeddings of input rows, (n, width): the mean over the evaluation views."""
        found = []
        for start in range(0, len(ids), BATCH):
            progress(task, start, len(ids))
            views = source.views(ids[start : start + BATCH], None)
            n, k = views.shape[:2]
            (rows,) = self._session.run(None, {"views": views.reshape(n * k, *views.shape[2:])})
            found.append(rows.reshape(n, k, -1).mean(axis=1))
        progress(task, len(ids), len(ids))
        return np.concatenate(found)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # burns a core
        try:
            return onnxruntime.InferenceSession(self.path, options, ["CPUExecutionProvider"])
        except Exception as error:  # of many classes of its own
            raise BundleError(
                f"{self.path}: onnxruntime cannot run it: {error!s:.300}; export the model again"
            ) from None


class ByNeed(Mapping[str, T]):
    """Values some of which are made when they are first asked for, and then with something else."""

    def __init__(
        self, made: Mapping[str, T], makers: Mapping[str, Callable[[], tuple[T, Any]]]
    ) -> None:
        self._made, self._makers = dict(made), makers

    def __getitem__(self, name: str) -> T:
        if name not in self._made:
            self._made[name], _ = self._makers[name]()
        return self._made[name]

    def made(self) -> list[T]:
        """Those that there are by now."""
        return list(self._made.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def onnx_encoders(
    model: Path, folders: Mapping[str, Path], named: Collection[str]
) -> tuple[dict[str, Settings], dict[str, OnnxEncoder]]:
    """What built-in encoders of a model read, and those of them that need no torch, by view.

    Both are empty of a model that was not exported with ONNX, and where onnxruntime is missing.
    `folders`: of each view's encoder; `named`: what the user has named. Texts need torch, beside
    the scikit-learn that cuts them into words.

    Raises:
        BundleError: an encoder is damaged, or would open what the user has not named: media are
            read before it is loaded, if it is at all.
    """
    reads: dict[str, Settings] = {}
    found: dict[str, OnnxEncoder] = {}
    if not (model / EXPORT).is_file() or not (model / ONNX).is_dir() or not find_spec(RUNTIME):
        return reads, found
    for view, folder in folders.items():
        with odd_as_error(folder):
            config = bundle_file(folder, CONFIG)["config"]
            kind = kind_of(modality_of(view))
            known = kind.encoders.get(config["encoder"])
            if known is None:
                continue
            reads[view] = checked_inputs(folder, config, kind, named)
            path = model / ONNX / f"encoder-{view}.onnx"
            if known.source is not None and path.is_file():
                section = kind.settings.model_validate(config["config"])
                found[view] = OnnxEncoder(path, partial(resolve(known.source), section))
    return reads, found
