"""What `raycv attribute` would do: how many cells and trainings, with what memory."""

from __future__ import annotations

from raycv.config import AttributeConfig
from raycv.memory import Need
from raycv.progress import answer
from raycv.run import record
from raycv.run.store import RunStore
from raycv.stages.cells import CellRun
from raycv.stages.intended import Intended
from raycv.stages.registry import BY_NAME, loaded


def plan_cells(config: AttributeConfig, store: RunStore) -> None:
    """Print which cells would be done and skipped, how many networks are trained, and the memory of the largest."""
    record.check_kind(store, ("attribution",))
    record.check_folder(store)
    intended: dict[str, Intended] = {c.name: loaded("attribute.stage:intended")(config, c) for c in config.all_cells}
    to_do = [cell for cell in config.all_cells if not _is_done(loaded("attribute.stage:run_of")(config, store, cell))]
    trained = [cell for cell in to_do if intended[cell.name].training]
    networks = sum(len(intended[cell.name].specs) for cell in trained)
    answer(f"{store.uri}: {len(to_do)} of {len(intended)} cells to do, {networks} networks to train")
    for cell in config.all_cells:
        what = _said(intended[cell.name]) if cell in to_do else "it is finished with these settings"
        answer(f"  {cell.name:<18}{'do  ' if cell in to_do else 'skip'}  {what}")
    if networks:
        passes = sum(intended[cell.name].trained for cell in trained)
        answer(f"  in all {passes:,} images are seen in training; the networks of a cell are trained side by side")
    for name in (name for name, stage in BY_NAME.items() if stage.needs and name in ("train", "collect", "align")):
        needs = [need for cell in to_do for need in _needs(name, intended[cell.name])]
        if needs:
            answer(f"  {name} needs up to {max(needs, key=lambda need: need.bytes)}, in memory, in the largest cell")


def _said(run: Intended) -> str:
    if not run.training:
        return f"{len(run.specs)} networks, not trained"
    return f"{len(run.specs)} networks, {run.training:,} images each, {run.epochs} epochs"


def _needs(name: str, run: Intended) -> list[Need]:
    found: list[Need] = loaded(BY_NAME[name].needs)(run)
    return found


def _is_done(one: CellRun) -> bool:
    done = record.read(one.run)["stages"]
    return all(name in done and BY_NAME[name].is_done(of, one.run) for name, of in one.settings.items())
