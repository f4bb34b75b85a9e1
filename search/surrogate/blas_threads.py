"""One thread for linear algebra: the matrices of a suggestion are too small to be shared.

With many threads the linear algebra library spends its time waiting for them: on a busy machine a
192 × 192 eigendecomposition takes 0.5 CPU-seconds with two threads and 0.005 with one.
Entry point: `single_blas_thread`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Limit numpy's and scipy's linear algebra to one thread; torch keeps its own."""
    with _threadpool_controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _threadpool_controller() -> ThreadpoolController:
    # Made at the first use: it finds the libraries that are loaded by then.
    return ThreadpoolController()
