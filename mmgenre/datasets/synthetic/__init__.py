"""The built-in catalogue: a small synthetic collection of real audio, review and cover files.

Every modality tells some genres apart and confuses others (see `taxonomy`), so that fusion has
something to do. Its figures say whether a pipeline works, never how well music can be classified.
"""

from mmgenre.datasets.synthetic.catalogue import built_in_catalogue, make_catalogue

__all__ = ["built_in_catalogue", "make_catalogue"]
