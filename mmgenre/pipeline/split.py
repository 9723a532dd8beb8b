"""A manifest -> the manifest of a run, in which every item with a genre is in a split."""

from __future__ import annotations

from collections.abc import Mapping

from mmgenre.errors import LabelError, ManifestError, SplitError
from mmgenre.items.item import SPLITS, Split
from mmgenre.items.manifest import Manifest
from mmgenre.items.splits import find_leaks, make_splits
from mmgenre.pipeline.recipe import Recipe


def with_splits(
    manifest: Manifest,
    recipe: Recipe,
    notes: list[str] | None = None,
    known: Mapping[str, Split | None] | None = None,
) -> Manifest:
    """The manifest with every item that has a genre in a split: its own splits, or drawn ones.

    Items without a genre are in none: nothing learns from them. Of the others without a split,
    those that the run has had before stay in their `known` one, and those that were added get the
    split of their artist, or one that is drawn. `notes` gets a sentence on artists that are in two
    of its own splits under two spellings, which may be one artist or not.

    Raises:
        LabelError: no item has a label.
        ManifestError: only some have a split.
        SplitError: the splits leak and the recipe does not allow it, one has no item, or none can
            be drawn.
    """
    c = manifest.columns
    if not all(c.labels):
        labelled = [item_id for item_id, own in zip(c.ids, c.labels, strict=True) if own]
        if not labelled:
            raise LabelError(
                f"{manifest.where}: none of {len(manifest)} items has a label, and training needs "
                "them. To name genres by a model that is there: mmgenre predict RUN --manifest FILE"
            )
        placed = [i for i, own, s in zip(c.ids, c.labels, c.splits, strict=True) if s and not own]
        if placed and notes is not None:
            from mmgenre.datasets.sources import found_note  # which few runs need

            what = "item(s) without a genre are in a split of the manifest: they are in none here"
            notes += [note for note in found_note(placed, what) if note not in notes]
        done = with_splits(manifest.only(labelled), recipe, notes, known)
        return manifest.with_splits({**dict.fromkeys(c.ids), **done.splits})
    open_ids = [i for i, split in manifest.splits.items() if split is None]
    kept = {i: s for i in open_ids if (s := (known or {}).get(i)) is not None}
    given = {i: split for i, split in manifest.splits.items() if split is not None}
    if open_ids and known and (kept or given):
        own = make_splits(manifest, recipe.ratios, recipe.seed, {**kept, **given})
        manifest, open_ids = manifest.with_splits(own), []
    if open_ids and len(open_ids) == len(manifest):
        return manifest.with_splits(make_splits(manifest, recipe.ratios, recipe.seed))
    if open_ids:
        fault = f"{len(open_ids)} of {len(manifest)} items have no split (first: {open_ids[0]!r})"
        raise ManifestError(manifest.where, [f"{fault}; give all of them one, or none"])
    if empty := [split for split in SPLITS if not manifest.ids(split)]:
        raise SplitError(
            f"{manifest.where}: no item is in {' or '.join(empty)}; a run trains on train, stops "
            "by val and measures on test. Empty the column split to have all three drawn"
        )
    found = find_leaks(manifest)
    if doubtful := [leak for leak in found if not leak.is_certain]:
        note = (
            f"{len(doubtful)} artist(s) or album(s) seem to be in two splits under two spellings "
            f"(first: {doubtful[0].value}); mmgenre manifest check lists them"
        )
        if notes is not None and note not in notes:
            notes.append(note)
    leaks = [leak for leak in found if leak.is_certain]
    if recipe.split.leakage == "refuse" and leaks:
        shown = "\n".join(f"  {leak}" for leak in leaks[:10])
        raise SplitError(
            f"{manifest.where}: its splits leak in {len(leaks)} place(s), so its figures would "
            f"flatter:\n{shown}\nEmpty the column split to have new ones drawn, or accept it "
            "with --set split.leakage=report"
        )
    return manifest
