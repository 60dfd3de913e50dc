"""What a file or a table in memory holds of recorded activations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raycv.data.natural import untangled
from raycv.errors import UserError

ONLY = "activations"  # the name of the layer where a recording has one, and no name for it
IDS = "ids"
# Columns that say something of a sample, by their names.
ABOUT_SAMPLES = re.compile(
    r"(.*_)?(ids?|idx|index|labels?|targets?|class|classes|samples?|images?|img|rows?|fold|split|key|filename|"
    r"path|trials?|stimul(us|i)|session|subject|epoch|batch|time|timestamp)"
    r"|(image|img|sample|row)_?(number|no|nr)|unnamed: \d+|level_\d+|__index_level_\d+__",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Contents:
    """The layers by name, and what names the samples and units.

    ``ids`` (n,), if any. ``is_numbered``: they are no more than the numbers of the rows as they stand, as in a pandas
    frame that was given no index. ``unit_names``: of the layers whose units are columns with names, in order.
    """

    layers: dict[str, Any]
    ids: Any = None
    is_numbered: bool = False
    unit_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def unit_columns(where: str, kinds: Mapping[str, str]) -> list[str]:
    """The columns of a table that are the units of a layer, in order; ``kinds``: the type of each, such as "float32".

    Columns that stand sorted as text are put in natural order. Raises UserError for one that is no unit: of another
    type than numbers, an integer beside others of another type, or one with such a name as label or sample_id.
    """
    for name, kind in kinds.items():
        if re.fullmatch(r"u?int\d+|float\d+|halffloat|half|float|double", kind) is None:
            raise UserError(
                f"{where} has a column {name!r} of {kind}; a layer is a column of lists of numbers, or columns of "
                f"numbers, and ids stand in a column named {IDS}."
            )
    whole = [name for name, kind in kinds.items() if "int" in kind]
    odd = whole[0] if whole and len(set(kinds.values())) > 1 else None
    about = [name for name in kinds if ABOUT_SAMPLES.fullmatch(name)]
    if len(about) < len(kinds):
        odd = about[0] if about else odd
    if odd is not None:
        other = next(name for name in kinds if name != odd)
        raise UserError(
            f"{where} has a column {odd!r} of {kinds[odd]} beside {other!r} of {kinds[other]}, which looks like no "
            f"unit; name it {IDS} where it names the samples, and leave it out otherwise."
        )
    return untangled(list(kinds))
