"""`raycv status`: what each stage of a run is doing, has done or has failed of. Changes nothing and needs no Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from raycv.config import StatusConfig
from raycv.errors import UserError
from raycv.progress import answer
from raycv.run import lease, record, tables
from raycv.run.names import is_ours
from raycv.run.paths import PARTS
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.stages.registry import AFTER_RUN, NAMES, STAGES

READERS = 16  # files whose rows are counted at once: on S3 each answer takes a while


@dataclass
class _Line:
    """One line of the answer, and sentences below it."""

    state: str = "not done"
    finished: str = ""
    seconds: str = ""
    rows: int = 0
    size: int = 0
    more: list[str] = field(default_factory=list)


def status(_config: StatusConfig, store: RunStore) -> None:
    """Print the state of a run's stages, and of those after it that have begun. Raises UserError without a run."""
    sizes = store.sizes()
    if not lease.held_in(sizes):  # a run that has just begun has a lease and no record yet
        record.check_there(store)
    found = record.read(store)
    lines = {name: _noted(name, found) for name in NAMES}
    for name, line in lines.items():
        if lease.path_of(name) in sizes:
            with _noting_damage(line):
                _led(line, lease.state(store, name))
    for path, size in sizes.items():
        owner = _owner(path)
        if owner in lines:
            lines[owner].size += size
    _count_rows(store, list(sizes), lines)
    for name in [stage.name for stage in AFTER_RUN if lines[stage.name] == _Line()]:
        del lines[name]
    answer(f"{store.uri}: {in_words(sum(sizes.values()))} in {len(sizes):,} files")
    answer(_table(lines))


def in_words(size: float) -> str:
    """A number of bytes as a person reads it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def _noted(name: str, found: Mapping[str, Any]) -> _Line:
    """What run.json says of a stage."""
    done, error = found["stages"].get(name), found.get("errors", {}).get(name)
    line = _Line()
    if done:
        line.state, line.finished = "finished", done.get("finished", "")[:16].replace("T", " ")
        line.seconds = f"{sum(done.get('seconds', {}).values()):,.1f}"
    if error:
        line.state = "failed"
        line.more.append(f"last error, {error['at'][:16].replace('T', ' ')}: {error['error']}")
    return line


def _led(line: _Line, state: lease.State | None) -> None:
    """Add who is at work on a stage."""
    if state is None:
        return  # given back this moment
    line.state = "running" if state.alive else "died"
    if state.holder.progress:
        line.more.append(state.holder.progress)
    line.more.append(f"{'held' if state.alive else 'left'} by {state.holder}")
    if state.ahead:
        line.more.append(
            f"this is dated {state.ahead:,.0f} s in the future, as the clock of the store was set: the same command "
            "sees within a minute whether that driver is alive"
        )


def _owner(path: str) -> str:
    """The stage whose file this is; empty for files of the run as a whole."""
    first, *below = path.split("/")
    if first == "tables":
        name = below[0].lstrip(".").split(".")[0]
        return BY_NAME[name].stage if name in BY_NAME else ""
    if first == PARTS:
        return below[0].partition("-")[0]
    return next((stage.name for stage in STAGES if stage.leaves(path)), "")


@contextlib.contextmanager
def _noting_damage(line: _Line) -> Iterator[None]:
    """Note the sentence on a damaged file below the line of its stage: what else there is shall be seen, too."""
    try:
        yield
    except UserError as error:
        if error.__cause__ is not None:  # the store has failed
            raise
        line.more.append(str(error))


def _count_rows(store: RunStore, paths: Sequence[str], lines: Mapping[str, _Line]) -> None:
    """Add the rows of all tables in place, from the last bytes of each file, and name those that cannot be read."""
    files = [path for path in paths if path.startswith("tables/") and path.endswith(".parquet") and is_ours(path)]

    def count(path: str) -> int | UserError:
        try:
            return tables.footer(store, path)[1]
        except UserError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return 0  # replaced since
            if error.__cause__ is not None:
                raise
            return error

    with ThreadPoolExecutor(READERS) as pool:
        for path, found in zip(files, pool.map(count, files), strict=True):
            if (line := lines.get(_owner(path))) is None:
                continue
            if isinstance(found, UserError):
                line.more.append(str(found))
            else:
                line.rows += found


def _table(lines: Mapping[str, _Line]) -> str:
    head = f"  {'stage':<15}{'state':<10}{'finished (UTC)':<18}{'seconds':>9}{'rows':>12}{'size':>12}"
    text = [head]
    for name, line in lines.items():
        rows, size = f"{line.rows:,}" if line.rows else "", in_words(line.size) if line.size else ""
        text.append(f"  {name:<15}{line.state:<10}{line.finished:<18}{line.seconds:>9}{rows:>12}{size:>12}".rstrip())
        text += [f"    {sentence}" for sentence in line.more]
    return "\n".join(text)
