"""What each artefact is made from. A fingerprint is known before the artefact is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.image.encoder import ImageConfig
from mmgenre.items.manifest import Modality
from mmgenre.learning.weights import sha256_folder
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.run import Run
from mmgenre.reading.extraction import inputs_provenance
from mmgenre.reading.network import EncoderConfig
from mmgenre.text.encoder import TextConfig

# Each rises when the code of its stage changes what it writes.
ENCODER_VERSION, EMBED_VERSION, JOINT_VERSION, FUSION_VERSION, ROW_VERSION = 4, 1, 2, 3, 1

# Read before an encoder learns, or used after it has; a path is not what lies there.
_NOT_LEARNED = {"input", "model", "weights", "embedding_precision"}


def encoder_config(recipe: Recipe, modality: Modality) -> EncoderConfig:
    """The recipe's section of a modality."""
    sections: dict[Modality, EncoderConfig] = {
        "audio": recipe.audio,
        "text": recipe.text,
        "image": recipe.image,
    }
    return sections[modality]


def of_inputs(run: Run, modality: Modality) -> Provenance:
    """Of what is read from media."""
    return inputs_provenance(run.manifest, modality, encoder_config(run.recipe, modality).input)


def of_encoder(run: Run, modality: Modality, inputs: str) -> Provenance:
    """Of an encoder trained on inputs of that fingerprint."""
    recipe = run.recipe
    config = encoder_config(recipe, modality)
    return Provenance(
        "encoder",
        ENCODER_VERSION,
        {
            modality: config.model_dump(mode="json", exclude=_NOT_LEARNED),
            "starts_from": _starting_point(config),
            "target": recipe.target.used(),
            "task": recipe.labels.task,
            "seed": recipe.seed,
            "labels": run.task_digest,
        },
        {"inputs": inputs},
    )


def _starting_point(config: EncoderConfig) -> str:
    """What an encoder does not learn from the run: by its content where it is a file or folder."""
    if isinstance(config, ImageConfig):
        named = config.weights in ("imagenet", "none")
        return config.weights if named else _content(Path(config.weights).expanduser())
    if isinstance(config, TextConfig) and config.model is not None:
        return _content(Path(config.model).expanduser())
    return "none"


def _content(path: Path) -> str:
    if not path.exists():
        return "missing"
    newest = max((p.stat().st_mtime_ns for p in [path, *path.rglob("*")]), default=0)
    return _sha256(path, newest)


@lru_cache(maxsize=16)
def _sha256(path: Path, newest: int) -> str:
    del newest  # part of the cache's key: a plan asks for the same weights in every cell
    return sha256_folder(path) if path.is_dir() else sha256_file(path)


def of_embeddings(run: Run, modality: Modality, inputs: str, encoder: str) -> Provenance:
    """Of the vectors that an encoder makes of inputs."""
    parents = {"inputs": inputs, "encoder": encoder}
    parameters = {"modality": str(modality)}
    precision = run.recipe.image.embedding_precision
    if modality == "image" and precision != "float32":
        parameters["precision"] = precision
    if modality == "image" and precision == "int8":
        parameters["splits"] = run.task_digest  # calibrated on the training items
    return Provenance("embeddings", EMBED_VERSION, parameters, parents)


def of_joint(run: Run, recipe: Recipe, embeddings: Mapping[str, str]) -> Provenance:
    """Of the joint space of embeddings, given by input name -> fingerprint."""
    parameters = {
        "joint": recipe.joint.model_dump(exclude={"modalities"}),
        "seed": recipe.seed,
        "splits": run.task_digest,
    }
    return Provenance("joint", JOINT_VERSION, parameters, embeddings)


def of_fusion(
    run: Run, recipe: Recipe, rows: Sequence[Sequence[str]], seeds: int, parents: Mapping[str, str]
) -> Provenance:
    """Of the heads over some rows of inputs; parents are the inputs' stores and their encoders."""
    parameters: dict[str, Any] = {
        "fusion": recipe.fusion.model_dump(exclude={"joint"}),  # the rows say it
        "target": recipe.fusion_target.used(),
        "task": recipe.labels.task,
        "seed": recipe.seed,
        "seeds": seeds,
        "rows": [list(names) for names in rows],
        "labels": run.task_digest,
    }
    return Provenance("fusion", FUSION_VERSION, parameters, parents)


def of_row(run: Run, inputs: Sequence[str], scores: str, parents: Mapping[str, str]) -> Provenance:
    """Of a row of an experiment: a head over its inputs, or the scores of the encoder itself."""
    recipe = run.recipe
    parameters: dict[str, Any] = {
        "inputs": list(inputs),
        "scores": scores,
        "labels": run.task_digest,
        "task": recipe.labels.task,
    }
    if scores == "head":
        parameters |= {
            "fusion": recipe.fusion.model_dump(exclude={"joint"}),
            "target": recipe.fusion_target.used(),
            "seed": recipe.seed,
        }
    return Provenance("row", ROW_VERSION, parameters, parents)
