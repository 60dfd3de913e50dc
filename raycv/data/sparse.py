"""Sparse matrices of SciPy as recordings: dense a few rows at a time."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycv.extras import needed


def is_sparse(values: Any) -> bool:
    """Whether this is a sparse matrix or array of SciPy."""
    sparse = sys.modules.get("scipy.sparse")  # which is loaded where there is such a matrix
    return sparse is not None and bool(sparse.issparse(values))


class SparseRows:
    """A sparse matrix (n, S) that is indexed by rows and gives dense ones."""

    def __init__(self, matrix: Any) -> None:
        with needed():
            from scipy.sparse import csr_array

        self._rows = csr_array(matrix)
        self.shape: tuple[int, ...] = self._rows.shape
        self.dtype: np.dtype[Any] = self._rows.dtype

    def __getitem__(self, wanted: slice | NDArray[np.int64]) -> NDArray[Any]:
        return np.asarray(self._rows[wanted].toarray())


def of_npz(arrays: Mapping[str, Any]) -> Any:
    """The matrix that `scipy.sparse.save_npz` wrote as these arrays; None where they are others."""
    if not arrays.keys() >= {"format", "shape", "data", "indices", "indptr"}:
        return None
    kind = np.asarray(arrays["format"][()]).item()
    kind = kind.decode() if isinstance(kind, bytes) else kind
    with needed():
        from scipy.sparse import bsr_array, csc_array, csr_array

    makers = {"csr": csr_array, "csc": csc_array, "bsr": bsr_array}
    if kind not in makers:
        return None
    parts = tuple(arrays[name][:] for name in ("data", "indices", "indptr"))
    return makers[kind](parts, shape=tuple(arrays["shape"][:]))
