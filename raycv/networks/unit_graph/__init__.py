"""Which axes of a network's weights count the same units, found by following one forward pass.

`axes` is the algebra of axes, `rules` what each of PyTorch's operations does to them, `tracing` puts both together.
"""
