"""What the report shows of layers too wide for its matrices is read a mapping layer at a time."""

from __future__ import annotations

from pathlib import Path

from raycv.run import tables
from raycv.run.store import RunStore
from raycv.stages.report.payload import PREDICTORS, predictor_columns
from raycv.stages.report.stage import strongest_weights
from tests.support.report_run import NETS, WIDTHS, write_mappings


def test_the_strongest_weights_are_those_of_the_whole_table(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path))
    write_mappings(store)
    for layer in WIDTHS:
        weights, units = (
            tables.read(store, name, filters=[("layer", "==", layer)]) for name in ("mapping_weights", "mapping_units")
        )
        found = strongest_weights(store, layer, units)
        assert predictor_columns(found, units, NETS) == predictor_columns(weights, units, NETS)
        assert found.groupby(["source_net", "target_net", "decay", "target_unit"]).size().max() <= PREDICTORS
