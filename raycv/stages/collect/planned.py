"""What the pass of an intended run compares, and how much memory and traffic it will take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from raycv.data.shards import shards
from raycv.memory import Need
from raycv.networks.spec import NetworkSpec
from raycv.run.paths import ACROSS, EPOCH, NETS, NULL
from raycv.stages.collect.groups import Groups, untrained_specs
from raycv.stages.collect.memory import actor_need, partial_bytes
from raycv.stages.intended import Intended
from raycv.statistics.folding import FOLDS


def groups_of(specs: Sequence[NetworkSpec]) -> Groups:
    """The networks that are compared with one another, but for those of earlier epochs."""
    members = tuple(chain(*(spec.members() for spec in specs)))
    groups = {NETS: tuple(specs), NULL: untrained_specs(specs), ACROSS: members}
    return {group: of_group for group, of_group in groups.items() if of_group}


def needs(run: Intended) -> list[Need]:
    """What an actor will need."""
    return [actor_need(_groups(run), run.config.shard_size, run.validation)]


def traffic(run: Intended) -> str:
    """What the pass reads and writes."""
    sizes = [len(shard.images) for shard in shards(run.validation, folds=FOLDS, shard_size=run.config.shard_size)]
    partials = len(sizes) * partial_bytes(_groups(run), max(sizes), run.validation)
    return (
        f"reads {run.weight_bytes / 1e6:,.1f} MB of weights per actor, writes {partials / 1e6:,.1f} MB of partials and "
        "reads them again"
    )


def _groups(run: Intended) -> Groups:
    """With the networks as they will be after earlier epochs."""
    epochs = len(set(run.config.keep_epochs))
    return groups_of(run.specs) | {f"{EPOCH}{place}": tuple(run.specs) for place in range(epochs)}
