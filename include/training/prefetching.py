"""A hint to fetch memory early, which LLVM has but numba does not offer.

It changes no result, only when memory is read: without it, `kernels.descend` gives the same bits. If the factors do not
fit into the processor's caches, a step of SGD waits for its item's row; with the hint it takes two thirds of the time.
If an upgrade of numba breaks this module, delete it together with its only call.
"""

# ruff: noqa: ARG001 - numba passes the types of all arguments by name

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

LINE = 8  # float64 numbers in a cache line
# https://llvm.org/docs/LangRef.html#llvm-prefetch-intrinsic: for writing, into all caches, data and not instructions
HINT = (1, 3, 1)


def _prefetch(_typing: Any, matrix: Any, row: Any, column: Any) -> tuple[Any, Callable[..., Any]]:
    """Fetch the cache line of ``matrix[row, column]``, a C-contiguous float64 matrix."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        matrix, row, column = arguments
        array = context.make_array(signature.args[0])(context, builder, matrix)
        _, width = cgutils.unpack_tuple(builder, array.shape)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        element = builder.gep(array.data, [builder.add(builder.mul(row, width), column)])
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(hint, [builder.bitcast(element, byte), *map(number, HINT)])
        return context.get_dummy_value()

    return types.void(matrix, types.int64, types.int64), generate


# Called by compiled code, without the first argument.
prefetch: Callable[..., None] = intrinsic(_prefetch)
