"""How long each stage takes with more networks: `python -m benchmarks.growth 2 4 8 16`. The machine must be idle."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import in_words
from raycv.cli import main as raycv
from raycv.config import TrainConfig
from raycv.networks import checkpoints
from raycv.networks.models import build
from raycv.run.store import RunStore
from raycv.stages.train.specs import specs_of

WIDTH = 6
STAGES = (["collect"], ["align"], ["sweep", "mapping"], ["sweep", "clusters"], ["report"])
FINE = (0, 3)  # untrained networks fail the health check of align


def measure(networks: int) -> dict[str, float]:
    """Seconds of each stage, and the size of the report, with so many small networks that were not trained."""
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        for spec in specs_of(TrainConfig(seeds=tuple(range(1, networks + 1)), width=(WIDTH,)), 10):
            checkpoints.save(store, spec, build(spec).state_dict())
        for stage in STAGES:
            if raycv([*stage, "--run", folder]) not in FINE:
                sys.exit(f"{' '.join(stage)} failed")
        stages = json.loads(store.read("run.json"))["stages"]
        seconds = {f"{name}: {part}": spent for name, of in stages.items() for part, spent in of["seconds"].items()}
        return seconds | {"report, MB": round(Path(folder, "report.html").stat().st_size / 1e6, 1)}


def main() -> None:
    """Print a line for each number of networks."""
    print(f"Machine: {in_words()}", flush=True)
    for networks in (int(number) for number in sys.argv[1:]):
        print(json.dumps({networks: measure(networks)}), flush=True)


if __name__ == "__main__":
    main()
