"""What is done with vectors once they are there: comparing, scaling, rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

Floats = NDArray[np.float32]


def matrix(vectors: Any) -> Floats:
    """Vectors as f32 (B, D), the numbers of each row side by side. What is so already is not copied.

    >>> matrix([1.0, 2.0]).shape
    (1, 2)
    """
    if isinstance(vectors, np.ma.MaskedArray) and vectors.mask.any():
        raise UsageError("numbers of the vectors are masked: a vector has all of them")
    try:
        array = np.asarray(vectors)
    except (TypeError, ValueError) as error:
        raise UsageError(f"vectors: {error}") from error
    if array.dtype.kind not in "fiu":
        raise UsageError(f"vectors of {array.dtype}: expected numbers")
    array = np.atleast_2d(np.asarray(array, dtype=np.float32))
    if array.ndim != 2:
        raise UsageError(f"vectors of shape {array.shape}: expected (B, D), or (D) for one")
    if len(array) and not array.shape[1]:
        raise UsageError("a vector has no numbers: expected at least one")
    has_rows = array.flags.aligned and (array.shape[1] < 2 or array.strides[1] == array.itemsize)
    return array if has_rows else np.array(array, order="C")


def unit(vectors: Floats) -> Floats:
    """Vectors scaled to length 1; one of zeros stays."""
    # In f64, whose range holds the squares of all numbers.
    lengths = np.sqrt(np.einsum("...d,...d->...", vectors, vectors, dtype=np.float64))[..., np.newaxis]
    scaled: Floats = np.empty(vectors.shape, dtype=np.float32)
    return np.divide(vectors, np.where(lengths > 0, lengths, 1), out=scaled, casting="same_kind")


def similarity(name: str, a: Floats, b: Floats) -> Floats:
    """(A, D), (B, D) -> (A, B), higher is more alike.

    >>> similarity("euclidean", matrix([0, 0]), matrix([[3, 4], [0, 1]])).tolist()
    [[-5.0, -1.0]]
    >>> similarity("manhattan", matrix([0, 0]), matrix([[3, 4]])).tolist()
    [[-7.0]]
    """
    if a.shape[1] != b.shape[1]:
        raise UsageError(f"vectors of {a.shape[1]} and of {b.shape[1]} numbers do not compare")
    if name == "cosine":
        a, b = unit(a), unit(b)
    if name in ("cosine", "dot"):
        products: Floats = a @ b.T
        return products
    order = {"euclidean": 2, "manhattan": 1}[name]
    rows = [-np.linalg.norm(b - row, ord=order, axis=-1) for row in a]
    return np.array(rows, dtype=np.float32).reshape(len(a), len(b))


def similarity_pairwise(name: str, a: Floats, b: Floats) -> Floats:
    """(B, D), (B, D) -> (B), higher is more alike."""
    if a.shape != b.shape:
        raise UsageError(f"vectors of shapes {a.shape} and {b.shape} are no pairs")
    if name == "cosine":
        a, b = unit(a), unit(b)
    if name in ("cosine", "dot"):
        products: Floats = np.einsum("bd,bd->b", a, b)
        return products
    order = {"euclidean": 2, "manhattan": 1}[name]
    distances: Floats = -np.linalg.norm(a - b, ord=order, axis=-1)
    return distances.astype(np.float32)


def quantized(vectors: Any, precision: str) -> Any:
    """Vectors rounded as sentence-transformers' quantize_embeddings rounds them, with ranges of their own.

    >>> quantized(matrix([[0.5, -1, 2, 3, -1, -1, -1, 1]]), "ubinary").tolist()
    [[177]]
    >>> quantized(matrix([[0.0], [1.0], [255.0]]), "uint8").ravel().tolist()
    [0, 1, 255]
    """
    match precision:
        case "float32":
            return vectors
        case "binary":
            return (np.packbits(vectors > 0, axis=-1).astype(np.int16) - 128).astype(np.int8)
        case "ubinary":
            return np.packbits(vectors > 0, axis=-1)
        case "int8" | "uint8" if not len(vectors):
            return vectors.astype(precision)
        case "int8" | "uint8" if len(vectors) == 1:
            raise UsageError(f"precision {precision} rounds to the ranges of many vectors, and one has none: encode more")
        case "int8" | "uint8":
            start = vectors.min(axis=0)
            step = np.maximum((vectors.max(axis=0) - start) / 255, np.finfo(np.float32).tiny)
            levels = (vectors - start) / step
            return levels.astype(np.uint8) if precision == "uint8" else (levels - 128).astype(np.int8)
    raise UsageError(f"precision: {precision!r} is none of float32, int8, uint8, binary, ubinary")
