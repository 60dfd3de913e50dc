#!/usr/bin/env bash
# Library:   PyTorch 2.15.0 (CPU), BatchNorm in training mode.
# Guess:     a tensor's count of changes in place (`_version`, which autograd relies on, and by which one can see cheaply
#            whether a network has changed its buffers) rises for running_mean and running_var with every training batch,
#            as it does for num_batches_tracked.
# Seen:      after a batch running_mean and running_var have other values and the same `_version`; that of
#            num_batches_tracked has risen. Whoever watches buffers by their versions misses batch normalisation.
# Source:    the operator's schema: running_mean and running_var are not marked as written to, `Tensor? running_mean`
#            and not `Tensor(a!)?` (torch.ops.aten.batch_norm.default._schema).
# Output:    "values changed: True, True; versions of running_mean, running_var, num_batches_tracked rise by 0, 0, 1"
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch

norm = torch.nn.BatchNorm2d(3)
buffers = norm.running_mean, norm.running_var, norm.num_batches_tracked
before = [(buffer.clone(), buffer._version) for buffer in buffers]
norm(torch.randn(4, 3, 8, 8) + 1)
changed = [not torch.equal(now, then) for now, (then, _) in zip(buffers, before)]
rises = [now._version - version for now, (_, version) in zip(buffers, before)]
print(
    f"values changed: {changed[0]}, {changed[1]}; versions of running_mean, running_var, num_batches_tracked rise by "
    + ", ".join(map(str, rises))
)
assert all(changed), changed
assert rises == [0, 0, 1], rises
schema = str(torch.ops.aten.batch_norm.default._schema)
assert "Tensor? running_mean" in schema, schema
PYTHON
