"""The pass over the validation images: accumulators, the actors that fill them, and their reduction."""
