"""The built-in catalogue: a small synthetic collection of real audio, review and cover files.

Every modality separates some genres and confuses others (see `plan`), so that fusion can help.
Metrics on it show whether a pipeline works, never how well music can be classified.
"""

from mmgenre.datasets.synthetic.catalogue import built_in_catalogue, make_catalogue

__all__ = ["built_in_catalogue", "make_catalogue"]
