"""Results of several sweeps side by side."""

from __future__ import annotations

from raycv.run.store import RunStore
from raycv.run.trial_results import TrialResults


def test_a_sweep_that_ends_removes_its_own_trials_alone(store: RunStore) -> None:
    for sweep in ("mapping-old", "mapping-new", "clusters-new"):
        TrialResults(store, f"sweeps/{sweep}").leave_out("conv1/net1-net2", "no edge")
    ended, going_on = TrialResults(store, "sweeps/mapping-new"), TrialResults(store, "sweeps/clusters-new")
    ended.remove()
    assert ended.finished() == set()
    assert going_on.finished() == {"conv1/net1-net2"}
    assert store.list("sweeps") == ["sweeps/clusters-new/conv1/net1-net2/done.json"]
    going_on.remove()
    assert store.list("") == []
