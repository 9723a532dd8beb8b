"""Every error that mmgenre raises on purpose: where, what, what is allowed, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

InputCode = Literal[
    "missing",  # no such file
    "unreadable",  # no decoder accepts it
    "truncated",  # far fewer samples, pixels or bytes than it declares
    "not_finite",  # NaN or infinity among the samples
    "too_short",  # less audio than audio.input.min_s
    "silent",  # hardly any of the audio varies
    "empty",  # a text without a word
    "encoding",  # a text that is not UTF-8, or no text at all
    "unknown_words",  # a text without a word that the encoder knows
    "annotation",  # a text whose entities are not known, for instance as a service did not answer
    "too_large",  # an image of a size that only an attack declares
    "too_small",  # an image that stands for a missing cover
    "crashed",  # its decoder ended the process, twice
    "too_slow",  # its decoder took longer than it may, twice
    "not_written",  # tags that could not be written, so that the file is as it was
    "unexpected",  # any other failure of a decoder
]
INPUT_CODES: tuple[str, ...] = get_args(InputCode)


def fault_list(where: str, faults: Sequence[str]) -> str:
    """The number of faults, and below it one line for each of the first 50."""
    shown = "\n".join(f"  {fault}" for fault in faults[:50])
    more = f"\n  ... and {len(faults) - 50} more" if len(faults) > 50 else ""
    return f"{where}: {len(faults)} fault(s)\n{shown}{more}"


class Interrupted(BaseException):
    """A signal asks this process to end; its notes (`add_note`) say what is kept.

    No KeyboardInterrupt, which libraries catch and turn into other exit codes.
    """

    def __init__(self, signal_number: int) -> None:
        self.signal = signal_number
        super().__init__(f"signal {signal_number}")


# What ends work that is in order: a stage that meets one adds a note on what is kept.
INTERRUPTS = (Interrupted, KeyboardInterrupt)


class MmgenreError(Exception):
    """Base of all errors below; the command line prints its message and exits with 1."""


class FaultsError(MmgenreError):
    """A file or folder with faults; carries all of them, one line each."""

    def __init__(self, where: str, faults: Sequence[str]) -> None:
        self.where = where
        self.faults = tuple(faults)
        super().__init__(fault_list(where, faults))

    def __reduce__(self) -> tuple[type[FaultsError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.where, self.faults)


class ManifestError(FaultsError):
    """A manifest with faults."""


class SplitError(MmgenreError):
    """No split with the wanted properties exists, or the given one leaks."""


class LabelError(MmgenreError):
    """A label that the label space does not know, or an item without one."""


class StoreError(MmgenreError):
    """A feature store that is damaged, hostile, unfinished, or lacks what was asked for."""


class PartError(StoreError):
    """A part of a store is not there, or another one; says what to do."""


class BundleError(MmgenreError):
    """A model folder that is damaged, unfinished or of another kind."""


class UnreachableError(MmgenreError):
    """A file that cannot be read now: the machine is at fault, and the file may be in order."""


class RecipeError(MmgenreError):
    """A recipe or setting that cannot be followed."""


class OlderRunWarning(UserWarning):
    """A run was made by an older version: says what is used again and what is made again."""


class DamageWarning(UserWarning):
    """A file of a run was edited or damaged: says where it is kept, and what was made again."""


class WaitingWarning(UserWarning):
    """Another process works in the same folder: says which one is waited for."""


class StoppingWarning(UserWarning):
    """Work ends as asked, but first comes to a point from which it can go on: says when."""


class VectorsWarning(UserWarning):
    """Vectors made elsewhere that are of no item: says how many."""


class NameWarning(UserWarning):
    """A name means a model that the package carries, and a folder here has it, too."""


class WeightsError(MmgenreError):
    """Pretrained weights that cannot be had or do not fit."""


class TrainingError(MmgenreError):
    """Training that cannot start or has diverged."""


class InputError(MmgenreError):
    """One damaged item. A run lists it and goes on."""

    def __init__(self, code: InputCode, where: str, detail: str) -> None:
        self.code: InputCode = code
        self.where = where
        self.detail = detail
        super().__init__(f"{where}: {detail} [{code}]")

    # Without it the error cannot return from a worker process, and breaks the whole pool.
    def __reduce__(self) -> tuple[type[InputError], tuple[InputCode, str, str]]:
        return type(self), (self.code, self.where, self.detail)


@dataclass(frozen=True, order=True)
class Refusal:
    """An item that a run left out, and why: one line of the list at the end."""

    id: str
    modality: str
    code: InputCode
    detail: str
