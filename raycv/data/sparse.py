"""Sparse matrices of SciPy as recordings: dense a few rows at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray


def is_sparse(values: Any) -> bool:
    """Whether this is a sparse matrix or array of SciPy."""
    return bool(scipy.sparse.issparse(values))


class SparseRows:
    """A sparse matrix (n, S) that is indexed by rows and gives dense ones."""

    def __init__(self, matrix: Any) -> None:
        self._rows = scipy.sparse.csr_array(matrix)
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
    makers = {"csr": scipy.sparse.csr_array, "csc": scipy.sparse.csc_array, "bsr": scipy.sparse.bsr_array}
    if kind not in makers:
        return None
    parts = tuple(arrays[name][:] for name in ("data", "indices", "indptr"))
    return makers[kind](parts, shape=tuple(arrays["shape"][:]))
