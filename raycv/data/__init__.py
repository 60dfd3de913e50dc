"""Images: where they come from, how a network sees them, and in which shards the pass takes them."""

from raycv.data.preprocessing import Preprocessing
from raycv.data.readers import EMBEDDED
from raycv.data.shards import Shard, shards
from raycv.data.sources import Source, open_source

__all__ = ["EMBEDDED", "Preprocessing", "Shard", "Source", "open_source", "shards"]
