"""What a person should know of an experiment: a line for each network, and what its splits lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mmgenre.fusion.notes import curve_notes, expert_notes
from mmgenre.items.modalities import modality_of
from mmgenre.pipeline.artefact import Artefact
from mmgenre.pipeline.cells import Plan, PlannedCell
from mmgenre.pipeline.notes import of_all_or_some, split_notes
from mmgenre.pipeline.scores import fusion_about


def experiment_notes(plan: Plan, failed: Mapping[str, str]) -> list[str]:
    """Splits, then the networks that stopped early, stand at chance or had few data, then experts.

    `failed`: the fingerprints of what was not made.
    """
    seeds = {cell.seed: cell for cell in plan.cells}
    splits = {f"seed {seed}": list(split_notes(cell.run)) for seed, cell in seeds.items()}
    made = [a for a in plan.artefacts if a.fingerprint not in failed]
    return [
        *of_all_or_some(splits),
        *(note for a in made for note in _of_network(a, plan.users[a.fingerprint])),
        *(note for cell in plan.cells if cell.scores in made for note in _of_experts(cell)),
    ]


def _of_network(artefact: Artefact, users: Sequence[PlannedCell]) -> Iterator[str]:
    """What its curve says, in one line; networks for cross-fitting are not told of."""
    is_for_crossfit = "without" in artefact.provenance.parameters
    if artefact.stage != "learn" or not artefact.trains or is_for_crossfit:
        return
    view = artefact.name
    training = users[0].run.recipe.of(modality_of(view)).training
    sentences = curve_notes(artefact.path, training)
    rows = list(dict.fromkeys(user.cell.name for user in users))
    where = rows[0] if len(rows) == 1 else f"{rows[0]} and {len(rows) - 1} other row(s)"
    if sentences:
        yield f"{view} of {where}, seed {users[0].seed}: {'; '.join(sentences)}"


def _of_experts(cell: PlannedCell) -> Iterator[str]:
    about = fusion_about(cell.scores.path) or {"rows": []}
    choices = [row["choice"] for row in about["rows"] if "choice" in row]
    yield from (f"{cell.cell.name}, seed {cell.seed}: {note}" for note in expert_notes(choices))
