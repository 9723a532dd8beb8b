"""The way of the data: inputs -> encoders -> embeddings -> joint space -> fusion -> metrics.

A stage reads artefacts, writes one, and does nothing where one with the same fingerprint is there.
"""

from mmgenre.stages.features import Extraction, extract_features
from mmgenre.stages.fusing import fuse
from mmgenre.stages.sharding import ShardResult, read_shard

__all__ = ["Extraction", "ShardResult", "extract_features", "fuse", "read_shard"]
