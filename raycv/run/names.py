"""The files that raycv writes, by name and place. A file of any other name or place is the user's: it is never removed.

This is the one place where that is decided. What writes a new kind of file adds its name here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from raycv.run.schema import BY_NAME

STAGES = (
    "train",
    "collect",
    "align",
    "sweep-mapping",
    "sweep-clusters",
    "patches",
    "figures",
    "report",
    "prune",
    "ablate",
    "ensemble",
    "stitch",
    "merge",
    "study",
    "attribute",
    "prepare",
)
UNFINISHED = r"\.[0-9a-f]{32}\.part"  # what is being written, beside what it becomes
PORTION = r"(?:train|validation)/\d{5}-[0-9a-f]{16}"  # some prepared images

_IDENTITY = r"[0-9a-f]{16}"  # a fingerprint
_ONE, _SOME = r"[^/]+", r".+"  # one folder, as of a network or a layer; one or more
_WEIGHTS = r"weights\.safetensors|weights-sample\.npz|network\.json"
_OF_TRANSFORMERS = r"model[-a-z0-9.]*\.(?:safetensors|json)|(?:vocab|merges)\.txt|(?:tokenizer|spiece)\.model"
_TABLE = "|".join(sorted(BY_NAME, key=len, reverse=True))
_ROWS = rf"(?:{_TABLE})\.parquet|done\.json|error\.txt"
_PAPERS = (  # figure-12-clusters, or for one layer figure-14-clusters-conv1
    "correlations|matchings|layers|joint|activity|clusters|tree|similarity|matched|information|extremes|mapping"
    "|agglomeration"
)
_FIGURE = (
    rf"figure-\d\d-(?:{_PAPERS})(?:-[^/]+)?|table-1(?:-curves|-optimiser)?|training|recurrence|epochs|measures|across"
    r"|filters|modularity|universal|ablation|ensembles|merges|pruning|stitching|study-(?:width|images)|attribution(?:-[^/]+)?"
)

# Folders of a run, and the names of the files in each.
_IN_RUN = (
    ("", r"run\.json|report\.html"),
    ("leases/", rf"(?:{'|'.join(STAGES)})\.json"),
    (rf"networks/{_ONE}/(?:epochs/\d+/)?", rf"{_WEIGHTS}|metrics\.parquet"),
    (rf"networks/training/{_IDENTITY}/saved/{_ONE}/", r"\d{5}\.safetensors"),
    (rf"networks/training/{_IDENTITY}/kept/\d+/", rf"{_ONE}\.safetensors"),
    (rf"networks/training/{_IDENTITY}/kept/", r"forked\.safetensors"),
    ("statistics/", r"statistics\.json"),
    (
        rf"statistics/{_IDENTITY}/{_SOME}/",
        r"(?:(?:fold|chance|draws)\d+-\d+|information\d+-\d+-\d+|patches|samples\d+|sums\d+)\.npz",
    ),
    (rf"statistics/{_IDENTITY}/partials/", r"(?:shard-\d{5,}|pilot)\.npz"),
    (rf"statistics/{_IDENTITY}/partials/(?:drawn|codes|tested)/{_SOME}/", r"\d+\.npz"),
    (rf"tables/\.?(?P<table>{_TABLE})/(?:layer-{_ONE}/)?", r"(?P=table)\.parquet"),
    ("figures/", rf"(?:{_FIGURE})\.png"),
    (rf"sweeps/(?:mapping|clusters)-{_IDENTITY}/{_SOME}/", _ROWS),
    (rf"parts/(?:{'|'.join(STAGES)})-{_IDENTITY}/{_SOME}/", rf"{_ROWS}|{_WEIGHTS}"),
    (rf"merges/{_SOME}/", _WEIGHTS),
    (rf"tracking/(?:{'|'.join(STAGES)})/{_SOME}/", r"events\.out\.tfevents\.[^/]+"),
    (rf"patches-{_IDENTITY}/{_SOME}/", r"\d+-(?:\d{5,}|sampled)\.parquet"),
    (rf"hub/{_ONE}/", rf"README\.md|[a-z_]+\.json|{_OF_TRANSFORMERS}"),  # of an export
)
_ABOVE = r"(?:runs/width-\d+-images-\d+/|cells/[a-z][a-z0-9_]*/)?"  # a study and an attribution hold runs

# The same of a folder of prepared images.
_IN_PREPARED = (
    ("", r"prepared\.json"),
    ("leases/", r"prepare\.json"),
    (r"(?:train|validation)/", r"index\.parquet|\d{5}-[0-9a-f]{16}\.images"),
    (r"parts/(?:train|validation)/", r"\d{5}-[0-9a-f]{16}\.parquet"),
)


def _pattern(places: Sequence[tuple[str, str]], before: str = "") -> re.Pattern[str]:
    files = "|".join(f"{place}(?:{name}|{UNFINISHED})" for place, name in places)
    return re.compile(f"{before}(?:{files})", re.DOTALL)


_RUN, _PREPARED = _pattern(_IN_RUN, _ABOVE), _pattern(_IN_PREPARED)


def is_ours(path: str) -> bool:
    """Whether raycv itself could have written a file of this name at this place of a run or of prepared images."""
    return not _leads_away(path) and bool(_RUN.fullmatch(path) or _PREPARED.fullmatch(path))


def is_of_prepared(path: str) -> bool:
    """Whether `raycv prepare` could have written such a file."""
    return not _leads_away(path) and bool(_PREPARED.fullmatch(path))


def is_lease(path: str) -> bool:
    """Whether this is who does a stage now."""
    return path.startswith("leases/") and is_ours(path)


def in_words(paths: Sequence[str]) -> str:
    """The first three of some files."""
    return ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")


def _leads_away(path: str) -> bool:
    return not {"", ".", ".."}.isdisjoint(path.split("/"))
