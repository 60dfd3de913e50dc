"""What the formulas of memory promise, against the peak of processes; and what is refused for lack of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from raycv import memory
from raycv.distributed import ray_cluster
from raycv.errors import UserError
from raycv.memory import IDLE_PROCESS, Need
from raycv.paper import DECAYS
from raycv.run.store import RunStore
from raycv.stages.align.memory import command_bytes, needs
from raycv.stages.clusters import memory as clusters
from raycv.stages.mapping import memory as mapping
from tests.support.aligned_run import write_aligned_run
from tests.support.commands import failing
from tests.support.peak import measured
from tests.support.runs import make_run
from tests.support.wide_run import FOLDS, write_wide_run

WIDTH = 250  # units
SLACK = 30 * 2**20  # bytes by which a process grows whatever it does: code that is loaded late, and the heap

TRIALS = """
from threadpoolctl import threadpool_limits
from raycv.paper import DECAYS, THRESHOLD
from raycv.run import tables
from raycv.run.store import RunStore
from raycv.stages.clusters.rows import Clustering, clusterings_from
from raycv import statistics
from raycv.stages.mapping.rows import PairMapping, mappings_from

def trial(uri):
    given, names = statistics.read(RunStore(uri)), ("net1", "net2")
    if kind == "sweep mapping":
        found = mappings_from(given, PairMapping("conv1", 0, 1, names, DECAYS, ("exact",)))
    else:
        found = clusterings_from(given, Clustering("conv1", 0, 1, names, THRESHOLD, None, ()))
    for name, rows in found.items():
        tables.parquet(tables.typed(name, rows))

kind, small, wide = sys.argv[1:]
with threadpool_limits(1):
    trial(small)
    before = begin()
    trial(wide)
print(json.dumps({"used": peak() - before}))
"""

COMMANDS = """
from raycv.progress import QUIET, speak
from raycv.run.store import RunStore
from raycv.stages.registry import BY_NAME, do

speak(QUIET)
stage, small, wide = sys.argv[1:]
for run in (small, wide):
    before = begin()
    do(BY_NAME[stage], BY_NAME[stage].settings(run=run), RunStore(run))
print(json.dumps({"used": peak() - before}))
"""

TRAINING = """
from raycv.config import TrainConfig
from raycv.data.sources import open_source
from raycv.networks.models import build
from raycv.run.store import RunStore
from raycv.stages.train.learning import make_optimizer, train_epoch
from raycv.stages.train.recipe import recipe_of
from raycv.stages.train.memory import worker_bytes
from raycv.stages.train.saved import Saved
from tests.support.runs import spec

def train(model, width, batch, folder):
    one = spec(1, width, model=model)
    net, recipe = build(one), recipe_of(model, TrainConfig(batch_size=batch))
    size = one.preprocessing.resize
    images = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)
    batches = [(images, torch.zeros(batch, dtype=torch.int64))] * 2
    optimizer = make_optimizer(net, recipe)
    train_epoch(net, batches, optimizer, recipe, one.preprocessing, epoch=0, steps=2, seed=1,
                device=torch.device("cpu"), report=lambda *_of_a_step: None)
    Saved(RunStore(folder), "saved").write(net, optimizer, [])
    return worker_bytes(one, batch)

model, width, batch, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
train("small-alexnet", 3, 2, folder)
before = begin()
needed = train(model, width, batch, folder)
print(json.dumps({"needed": needed, "used": peak() - before}))
"""


AFTER = """
from raycv.config import AblateConfig, EnsembleConfig, MergeConfig, PruneConfig, StitchConfig
from raycv.stages.piecewise_stage import PiecewiseStage
from raycv.memory import IDLE_PROCESS
from raycv.progress import QUIET, speak
from raycv.run.store import RunStore
from raycv.stages.ablate.stage import ablate
from raycv.stages.ensemble.stage import ensemble
from raycv.stages.merge.stage import merge
from raycv.stages.prune.stage import prune
from raycv.stages.stitch.stage import stitch

def do(self, pieces, make, wanted, need, networks):  # as an actor does them, in this process
    global needed
    needed, work = need.bytes - IDLE_PROCESS, make("cpu")
    for piece in pieces[-1:]:
        self.results.keep(piece.name, work(piece))
    raise Done

class Done(Exception):
    pass

PiecewiseStage.do = do
STAGES = {"ablate": (ablate, AblateConfig), "ensemble": (ensemble, EnsembleConfig), "merge": (merge, MergeConfig),
          "prune": (prune, PruneConfig), "stitch": (stitch, StitchConfig)}
speak(QUIET)
torch.manual_seed(0)
more = {"ablate": {"single_units": 0}, "prune": {"fractions": (0.5,)}, "stitch": {"decays": (1e-3, 1e-2)}}
stage, small, wide = sys.argv[1:]
for run in (small, wide):
    before = begin()
    try:
        STAGES[stage][0](STAGES[stage][1](run=run, **more.get(stage, {})), RunStore(run))
    except Done:
        pass
print(json.dumps({"needed": needed, "used": peak() - before}))
"""


def check(needed: float, used: float) -> None:
    """The formula bounds the peak, and is not far above it."""
    assert used <= needed + SLACK, (used, needed)
    assert needed <= 3 * used, (used, needed)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "width", "batch"), [("small-alexnet", 48, 64), ("alexnet", 24, 8)])
def test_a_training_worker_needs_what_its_formula_says(model: str, width: int, batch: int, tmp_path: Path) -> None:
    found = measured(TRAINING, model, width, batch, tmp_path)
    check(found["needed"], found["used"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunStore]:
    """Of narrow layers and of wide ones."""
    folder = tmp_path_factory.mktemp("runs")
    return [write_wide_run(RunStore(str(folder / str(width))), width) for width in (12, WIDTH)]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sweep mapping", "sweep clusters"])
def test_a_trial_needs_what_its_formula_says(stage: str, runs: list[RunStore]) -> None:
    found = measured(TRIALS, stage, *(run.uri for run in runs))
    of_clusters, of_mapping = clusters.trial_bytes(WIDTH, FOLDS), mapping.trial_bytes(WIDTH, FOLDS, len(DECAYS), 1)
    check(of_mapping if stage == "sweep mapping" else of_clusters, found["used"])


@pytest.mark.slow
def test_align_needs_what_its_formula_says(runs: list[RunStore]) -> None:
    found = measured(COMMANDS, "align", *(run.uri for run in runs))
    check(command_bytes([WIDTH] * 2, FOLDS), found["used"])


def test_a_wide_layer_needs_memory_for_its_comparisons_too() -> None:
    narrow, wide = {"conv1": [96, 96]}, {"conv1": [96, 96], "fc6": [4096, 4096]}
    assert [need.who for need in needs(narrow, {"conv1": FOLDS})] == ["the command"]
    command, comparison = needs(wide, {"conv1": FOLDS, "fc6": 2})
    assert comparison.who == "a comparison"
    assert comparison.bytes > 8 * 2**30 > command.bytes > 64 * 4096**2


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["ablate", "ensemble", "merge", "prune", "stitch"])
def test_an_actor_of_the_stages_after_a_run_needs_what_its_formula_says(
    stage: str, images: Path, tmp_path: Path
) -> None:
    runs = [write_aligned_run(RunStore(str(tmp_path / str(width))), images, width).uri for width in (4, 36)]
    found = measured(AFTER, stage, *runs)
    check(found["needed"], found["used"])


def test_what_needs_more_than_the_machine_has_is_refused_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunStore(str(make_run(tmp_path / "run")))
    before = {path: run.read(path) for path in run.list("")}
    monkeypatch.setattr(memory, "of_machine", lambda: IDLE_PROCESS)
    said = failing(capsys, "align", "--run", run.uri)
    assert "align needs up to 0.6 GB of memory and this machine has 0.6 GB; " in said
    assert "compare fewer networks, or leave the widest layers out with `raycv train --layers`." in said
    assert {path: run.read(path) for path in run.list("")} == before


def test_what_the_nodes_cannot_hold_is_refused() -> None:
    need = Need.of(10**9, "use fewer", "a worker", count=3)
    memory.check_nodes("train", need, [3 * need.bytes])
    memory.check_nodes("train", need, [need.bytes, 2 * need.bytes])
    with pytest.raises(UserError, match="train needs up to 1.6 GB of memory for a worker and the largest node has 1.0"):
        memory.check_nodes("train", need, [10**9] * 8)
    with pytest.raises(UserError, match="for a worker, 3 times, and the cluster has 3.3 GB; use fewer.$"):
        memory.check_nodes("train", need, [need.bytes, need.bytes])


def test_there_are_as_many_actors_as_the_nodes_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    need = Need.of(10**9, "use fewer", "an actor")
    nodes = [{"CPU": 8, "memory": held * need.bytes} for held in (2.5, 0.9, 1.0)]
    nodes.append({"GPU": 8, "memory": 100.0 * need.bytes})  # nothing for CPUs
    head = {"memory": 100.0 * need.bytes}  # of a cluster that computes on its other nodes
    nodes.append(head)
    monkeypatch.setattr(ray_cluster, "of_nodes", lambda: nodes)
    monkeypatch.setattr(ray_cluster, "has_autoscaler", lambda: False)
    monkeypatch.setattr(ray_cluster, "amount", lambda resource: sum(node.get(resource, 0) for node in nodes))
    places = [ray_cluster.Places("prune", need, pieces, 4, None).checked() for pieces in (0, 1, 2, 8)]
    assert [place() for place in places] == [0, 1, 2, 3]
    nodes[:] = [nodes[1], head]
    assert places[-1]() == 1  # while actors work, a node that goes is no mistake
    with pytest.raises(UserError, match="prune needs up to 1.6 GB of memory for an actor and the largest node has 1.5"):
        ray_cluster.Places("prune", need, 2, 4, None).checked()


def test_more_workers_than_the_cluster_holds_are_refused_before_training_begins(
    images: Path, tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunStore(str(tmp_path / "run"))
    said = failing(capsys, "train", "--run", run.uri, "--data", str(images), "--seeds", "1,2", "--workers", "640")
    assert "for a worker, 1280 times, and the cluster has" in said
    assert "use a smaller --batch-size, fewer --workers, or fewer or narrower networks." in said
    assert not run.list("")


def test_a_container_has_what_its_limit_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "LIMITS", (str(limit),))
    whole = memory.of_machine()
    limit.write_text("max\n")
    assert memory.of_machine() == whole
    limit.write_text("1000\n")
    assert memory.of_machine() == 1000
