#!/usr/bin/env bash
# Library:   PyTorch 2.15.0 (CPU), optimizers with fused=True (SGD, Adam, AdamW, Adagrad).
# Guess:     a gradient that is taken through weights which an optimizer has changed since the forward pass, as with two
#            losses and a step between them, is refused: "one of the variables needed for gradient computation has been
#            modified by an inplace operation". So it is with every optimizer by default.
# Seen:      with fused=True the step leaves `_version` of the weights as it was, so autograd notices nothing and gives
#            the gradient of a loss that was computed with other weights: d/dp p² at p = [1, 2] is [1, 3] and not [2, 4]
#            after a step to [.5, 1.5]. Whoever watches weights by their versions misses the step, too.
# Source:    the operator's schema, _fused_sgd_(Tensor(a!)[] self, ...), marks the weights as written to, as that of
#            _foreach_add_ does, whose call raises the versions.
# Output:    "default: RuntimeError, version 0 to 1; fused: gradient [1.0, 3.0], version 0 to 0" for SGD
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch


def seen(kind, fused):
    weights = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = kind([weights], lr=0.5, fused=fused)
    loss = (weights * weights).sum()
    weights.grad, before = torch.ones(2), weights._version
    optimizer.step()
    assert weights.tolist() != [1.0, 2.0]
    versions, weights.grad = (before, weights._version), None
    try:
        loss.backward()
    except RuntimeError:
        return versions, None
    return versions, weights.grad


for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad):
    (before, after), refused = seen(kind, False)
    (fused_before, fused_after), gradient = seen(kind, True)
    assert refused is None and after > before, (kind, before, after)
    assert gradient is not None and fused_after == fused_before, (kind, fused_before, fused_after)
    assert not torch.allclose(gradient, torch.tensor([2.0, 4.0]), atol=0.1), gradient
    rounded = [round(value, 3) for value in gradient.tolist()]
    print(
        f"{kind.__name__}: default: RuntimeError, version {before} to {after}; "
        f"fused: gradient {rounded}, version {fused_before} to {fused_after}"
    )
PYTHON
