"""What numba has no word for and LLVM has: steps of SGD in vectors, and the hint to fetch memory early.

Each lane of a vector has the IEEE arithmetic of the scalar operation, so no result depends on the width.
"""

# ruff: noqa: ARG001 - numba tells the types of all arguments, and asks for their names

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

    Generator = Callable[[Any, Any, Any, Any], Any]

# Factors that are corrected at a time. Wider vectors took twice as long: taking them apart again costs too much.
WIDTH = 4
# Bytes of a factor.
BYTES = 8
TO_WRITE, KEEP, DATA = 1, 3, 1

INTEGER, FLOAT = types.int64, types.float64
NUMBER, ADDRESS = ir.IntType(32), ir.IntType(8).as_pointer()
VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)
UNDEFINED = ir.Constant(VECTOR, ir.Undefined)
FIRST_LANE = ir.Constant(ir.VectorType(NUMBER, WIDTH), [0] * WIDTH)


def _correct_vector(
    _typing: Any,
    dot: Any,
    users: Any,
    user: Any,
    items: Any,
    item: Any,
    next_item: Any,
    place: Any,
    error: Any,
    rate: Any,
    decay: Any,
) -> tuple[Any, Generator]:
    """Correct ``WIDTH`` factors of a user and of an item by the error of a rating, as ``kernels.descend`` describes.

    Args:
        dot: the dot product of the user and the next item as far as it is known.
        users: a row of float64 factors per user.
        user: a row of it.
        items: a row of float64 factors per item.
        item: a row of it.
        next_item: the row of the item that the user has rated next.
        place: the first of the factors.
        error: of the rating.
        rate: the learning rate.
        decay: the regularization.

    Returns:
        The dot product with the products of these factors, added one by one.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        dot, users, user, items, item, next_item, place, *scalars = arguments
        error, rate, decay = (_in_all_lanes(builder, scalar) for scalar in scalars)

        def corrected(mine: Any, other: Any) -> Any:
            slope = builder.fsub(builder.fmul(error, other), builder.fmul(decay, mine))
            return builder.fadd(mine, builder.fmul(rate, slope))

        def pointer(kind: Any, matrix: Any, row: Any) -> Any:
            return builder.bitcast(_address(context, builder, kind, matrix, row, place), VECTOR.as_pointer())

        of_user, of_item = pointer(signature.args[1], users, user), pointer(signature.args[3], items, item)
        old_user, old_item = builder.load(of_user, align=BYTES), builder.load(of_item, align=BYTES)
        new_user = corrected(old_user, old_item)
        builder.store(new_user, of_user, align=BYTES)
        builder.store(corrected(old_item, old_user), of_item, align=BYTES)
        # Read after the store: it may be the same item once more.
        following = builder.load(pointer(signature.args[3], items, next_item), align=BYTES)
        products = builder.fmul(following, new_user)
        for lane in range(WIDTH):
            dot = builder.fadd(dot, builder.extract_element(products, NUMBER(lane)))
        return dot

    return FLOAT(FLOAT, users, INTEGER, items, INTEGER, INTEGER, INTEGER, FLOAT, FLOAT, FLOAT), generate


def _prefetch(_typing: Any, matrix: Any, row: Any, place: Any) -> tuple[Any, Generator]:
    """Fetch the cache line of a number of a float64 matrix, which will be read and written soon, into the caches.

    It changes no number, only when memory is read.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ADDRESS, NUMBER, NUMBER, NUMBER])
        hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        line = builder.bitcast(_address(context, builder, signature.args[0], *arguments), ADDRESS)
        builder.call(hint, [line, NUMBER(TO_WRITE), NUMBER(KEEP), NUMBER(DATA)])
        return context.get_dummy_value()

    return types.void(matrix, INTEGER, INTEGER), generate


def _address(context: Any, builder: Any, kind: Any, matrix: Any, row: Any, column: Any) -> Any:
    array = context.make_array(kind)(context, builder, matrix)
    _, width = cgutils.unpack_tuple(builder, array.shape)
    return builder.gep(array.data, [builder.add(builder.mul(row, width), column)])


def _in_all_lanes(builder: Any, scalar: Any) -> Any:
    vector = builder.insert_element(UNDEFINED, scalar, NUMBER(0))
    return builder.shuffle_vector(vector, UNDEFINED, FIRST_LANE)


# What compiled code calls, without the first argument.
correct_vector: Callable[..., float] = intrinsic(_correct_vector)
prefetch: Callable[..., None] = intrinsic(_prefetch)
