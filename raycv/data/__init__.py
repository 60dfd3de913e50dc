"""Images: where they come from, how a network sees them, in which shards and samples the pass takes them."""
