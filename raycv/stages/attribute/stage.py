"""`raycv attribute`: what makes networks converge, from runs whose networks share more or less."""

from __future__ import annotations

import time
from collections.abc import Mapping

from raycv.cells import NamedCell
from raycv.config import AttributeConfig, RunConfig, TrainConfig
from raycv.drawing.style import png
from raycv.progress import say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.stages.attribute import page
from raycv.stages.attribute.figures.contrasts import contrasts_of_all, values_of_layer
from raycv.stages.attribute.rows import Measured, cell_rows, contrast_rows, measured
from raycv.stages.attribute.summary import summary
from raycv.stages.cells import CellRun, do_all
from raycv.stages.intended import Intended
from raycv.stages.registry import BY_NAME, INTENDED, loaded

FORMAT = 1  # of the tables; part of their identity
EACH = ("train", "collect", "align")  # stages that are done for every cell
MAPPING = "sweep mapping"


def attribute(config: AttributeConfig, store: RunStore) -> None:
    """Train, collect and align for every cell, each an ordinary run below ``cells/``; write tables and figures.

    What a run has finished with the same settings is not repeated; tables and figures are, as they take seconds.
    Raises UserError, before anything starts, for cells that cannot be done.
    """
    began = time.time()
    record.check_folder(store)
    runs = [run_of(config, store, cell) for cell in config.all_cells]
    for cell in config.all_cells:
        intended(config, cell)
    do_all(store, "attribution", record.CELLS, runs, "attribute: cell")
    found = [_measured(config, one.run, cell) for one, cell in zip(runs, config.all_cells, strict=True)]
    cells, contrasts = cell_rows(found), contrast_rows(found)
    written = [tables.write(store, "attribution", contrasts), tables.write(store, "attribution_cells", cells)]
    figures = {"attribution": png(contrasts_of_all(contrasts))} if len(contrasts) else {}
    figures |= {f"attribution-{layer}": png(values_of_layer(cells, layer)) for layer in cells["layer"].unique()}
    written += [store.write(f"figures/{name}.png", content) for name, content in figures.items()]
    written.append(store.write(page.PATH, page.html(store.uri.rsplit("/", 1)[-1], cells, contrasts, _titled(figures))))
    identity = fingerprint(FORMAT, [record.fingerprint_of(one.run, "align") for one in runs], config.mapping)
    facts = {"seconds": {"attribute": round(time.time() - began, 1)}}
    record.finish(store, "attribute", identity, config.model_dump(mode="json"), facts)
    say(summary(cells, contrasts))
    for uri in [*written, store.locate(record.CELLS)]:
        say(f"attribute: {uri}")


def intended(config: AttributeConfig, cell: NamedCell) -> Intended:
    """The run of a cell. Raises UserError for a cell that cannot be done."""
    found: Intended = loaded(INTENDED)(config.of_cell(cell, RunConfig, config.run))
    return found


def run_of(config: AttributeConfig, store: RunStore, cell: NamedCell) -> CellRun:
    """The run of a cell in the attribution ``store``."""
    run = RunStore(store.locate(f"{record.CELLS}/{cell.name}"))
    stages = (*EACH, *([MAPPING] if config.mapping else []))
    settings = {name: config.of_cell(cell, BY_NAME[name].settings, run.uri) for name in stages}
    words = ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in cell.settings.items())
    return CellRun(f"{cell.name}{f' ({words})' if words else ''}", run, settings)


def _titled(figures: Mapping[str, bytes]) -> dict[str, bytes]:
    """Figures by what they show, on the page."""
    return {
        "All differences" if name == "attribution" else name.removeprefix("attribution-"): content
        for name, content in figures.items()
    }


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _measured(config: AttributeConfig, run: RunStore, cell: NamedCell) -> Measured:
    apart = config.of_cell(cell, TrainConfig, run.uri).are_apart
    return measured(run, cell.name, cell.against, apart=apart, is_mapped=config.mapping)
