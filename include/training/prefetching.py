"""A hint to the processor that numba has no word for. It changes no number, only when memory is read."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

# Numbers of a cache line.
LINE = 8
TO_WRITE, KEEP, DATA = 1, 3, 1


def _prefetch(_typing: Any, matrix: Any, row: Any) -> Any:
    """Fetch a row of a matrix of float64, which will be read and written soon, into the caches."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        _, width = cgutils.unpack_tuple(builder, array.shape)
        address, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address, number, number, number])
        hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        first = builder.mul(builder.sext(arguments[1], width.type), width)
        with cgutils.for_range_slice(builder, width.type(0), width, width.type(LINE)) as (place, _):
            line = builder.bitcast(builder.gep(array.data, [builder.add(first, place)]), address)
            builder.call(hint, [line, number(TO_WRITE), number(KEEP), number(DATA)])
        return context.get_dummy_value()

    return types.void(matrix, row), generate


# What compiled code calls, without the first argument.
prefetch: Any = intrinsic(_prefetch)
