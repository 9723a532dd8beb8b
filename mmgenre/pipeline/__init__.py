"""The way of the data: inputs -> encoders -> embeddings -> joint space -> fusion -> metrics.

A stage reads artefacts, writes one, and does nothing where one with the same fingerprint is there.
"""

from mmgenre.pipeline.features import Extraction, extract_features
from mmgenre.pipeline.fuse import fuse
from mmgenre.pipeline.sharding import ShardResult, read_shard

__all__ = ["Extraction", "ShardResult", "extract_features", "fuse", "read_shard"]
