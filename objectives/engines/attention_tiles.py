"""Tiles for compiled code: `SIDE` rows of `SIDE` numbers, which stay in the processor's registers.

numba has no vectors, and the loops that LLVM turns into vectors spend their time, at the sizes of
small networks, on the rest that does not fill one. A tile is a value, of float32 or float64, taken
from a matrix by `load_tile`; so is a single row of one (`load`), which may also stand for a number
of each row of a tile.

    tile = load_tile(x, row, column) * load_tile(y, row, column)
    store(z, row, column, less_each(tile, sums(tile)))

Functions that make code (`@instruction`) are given the types of their arguments, and return a
signature with a function that writes LLVM's instructions.

Entry points: `SIDE`; `load`, `load_tile`, `store`, `filled`; `+`, `*`, `add_products`,
`add_turned`, `times`, `times_each`, `less_each`; `larger`, `first_of`; for more of the like,
`instruction`, `Tile`, `each`.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, final

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.datamodel import PrimitiveModel  # type: ignore[attr-defined]
from numba.extending import intrinsic, lower_builtin, register_model, type_callable

SIDE = 8
"""Of a tile: so many float32 are a register of AVX2, so many float64 two; and so many sums at a
time keep the multipliers of a processor core busy."""

Code = Callable[[Any, Any, Any, Any], Any]
"""`(context, builder, signature, values of the arguments) -> value of the result`."""


def instruction(function: Callable[..., Any]) -> Any:
    """Return a function that compiled code may call, which writes the code of that call.

    It is given numba's context and the types of the arguments, and returns a signature and `Code`.
    """
    return intrinsic(function)


@final
class Tile(types.Type):
    """The type of a tile, of `SIDE` rows or one."""

    def __init__(self, number: types.Float, rows: int) -> None:
        self.number, self.rows = number, rows
        super().__init__(name=f"tile({number}, {rows})")


@register_model(Tile)
class _TileModel(PrimitiveModel):
    """A tile is an array of LLVM's vectors."""

    def __init__(self, models: Any, tile: Tile) -> None:
        number = models.lookup(tile.number).get_value_type()
        kind = ir.ArrayType(ir.VectorType(number, SIDE), tile.rows)
        super().__init__(models, tile, kind)  # type: ignore[no-untyped-call]


def each(builder: Any, change: Callable[..., Any], *tiles: Any) -> Any:
    """Return the tile of what becomes of each row: `change(row's number, rows of the tiles)`."""
    found = ir.Constant(tiles[0].type, ir.Undefined)
    for row in range(tiles[0].type.count):
        vector = change(row, *(builder.extract_value(tile, row) for tile in tiles))
        found = builder.insert_value(found, vector, row)
    return found


def spread(builder: Any, number: Any) -> Any:
    """Return a vector of one number."""
    empty = ir.Constant(ir.VectorType(number.type, SIDE), ir.Undefined)
    first = builder.insert_element(empty, number, ir.Constant(ir.IntType(32), 0))
    return shuffled(builder, first, empty, [0] * SIDE)


def shuffled(builder: Any, one: Any, other: Any, order: Sequence[int]) -> Any:
    """Return a vector of elements of two, which are counted through."""
    places = ir.Constant(ir.VectorType(ir.IntType(32), SIDE), list(order))
    return builder.shuffle_vector(one, other, places)


def multiplied_add(builder: Any, one: Any, other: Any, more: Any) -> Any:
    """Return one · other + more, which may be rounded once."""
    product = builder.fmul(one, other, flags=("contract",))
    return builder.fadd(product, more, flags=("contract",))


def the_larger(builder: Any, one: Any, other: Any) -> Any:
    """Return the larger of each pair; the second where one of them is NaN."""
    return builder.select(builder.fcmp_ordered(">", one, other), one, other)


def _define_operator(sign: Callable[[Any, Any], Any], instruction: str) -> None:
    """Give compiled code an operator on two tiles; a product and a sum may become one."""

    @type_callable(sign)
    def _(_: Any) -> Any:
        return lambda one, other: one if isinstance(one, Tile) and one == other else None

    @lower_builtin(sign, Tile, Tile)  # type: ignore[no-untyped-call,untyped-decorator]
    def _(_: Any, builder: Any, __: Any, tiles: Any) -> Any:
        combine = getattr(builder, instruction)
        return each(builder, lambda _, *rows: combine(*rows, flags=("contract",)), *tiles)


_define_operator(operator.add, "fadd")
_define_operator(operator.mul, "fmul")


def _parts(context: Any, builder: Any, array: Any, value: Any) -> Any:
    """Return an array's data, sizes and strides."""
    return cgutils.create_struct_proxy(array)(context, builder, value)  # type: ignore[no-untyped-call]


def _address(
    context: Any, builder: Any, array: Any, place: Sequence[Any], down: int = 0, along: int = 0
) -> Any:
    """Return where an element of a matrix with contiguous rows lies.

    numba's own indices may count from the end, which takes longer than the arithmetic here.

    Args:
        context: Of the code.
        builder: Likewise.
        array: The matrix's type.
        place: Values of the matrix, a row and a column.
        down: Rows below it.
        along: Columns beside it.
    """
    matrix = _parts(context, builder, array, place[0])
    row = builder.add(place[1], ir.Constant(place[1].type, down))
    stride = builder.extract_value(matrix.strides, 0)
    offset = builder.mul(row, stride)
    begin = cgutils.pointer_add(builder, matrix.data, offset)  # type: ignore[no-untyped-call]
    return builder.gep(begin, [builder.add(place[2], ir.Constant(place[2].type, along))])


def _loading(tile: Tile, array: Any) -> Code:
    def code(context: Any, builder: Any, _: Any, place: Any) -> Any:
        kind = context.get_value_type(tile)

        def row(number: int, _: Any) -> Any:
            address = _address(context, builder, array, place, down=number)
            vector = builder.bitcast(address, kind.element.as_pointer())
            return builder.load(vector, align=tile.number.bitwidth // 8)

        return each(builder, row, ir.Constant(kind, ir.Undefined))

    return code


@instruction
def load(_: Any, matrix: Any, row: Any, column: Any) -> Any:  # noqa: ARG001
    """Return one row of a tile: a row of a matrix from a column on."""
    tile = Tile(matrix.dtype, 1)
    return tile(matrix, types.intp, types.intp), _loading(tile, matrix)


@instruction
def load_tile(_: Any, matrix: Any, row: Any, column: Any) -> Any:  # noqa: ARG001
    """Return the tile that begins at a row and a column of a matrix."""
    tile = Tile(matrix.dtype, SIDE)
    return tile(matrix, types.intp, types.intp), _loading(tile, matrix)


@instruction
def store(_: Any, matrix: Any, row: Any, column: Any, tile: Any) -> Any:  # noqa: ARG001
    """Put a tile, or a row of one, into a matrix from a row and a column on."""

    def code(context: Any, builder: Any, __: Any, values: Any) -> Any:
        for number in range(tile.rows):
            vector = builder.extract_value(values[3], number)
            address = _address(context, builder, matrix, values, down=number)
            address = builder.bitcast(address, vector.type.as_pointer())
            builder.store(vector, address, align=tile.number.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, tile), code


@instruction
def filled(_: Any, matrix: Any, number: Any) -> Any:
    """Return a tile of one number, in the type of a matrix."""
    tile = Tile(matrix.dtype, SIDE)

    def code(context: Any, builder: Any, __: Any, values: Any) -> Any:
        vector = spread(builder, context.cast(builder, values[1], number, matrix.dtype))
        return each(builder, lambda *_: vector, ir.Constant(context.get_value_type(tile), None))

    return tile(matrix, number), code


def _adding(matrix: Any, *, turned: bool) -> Code:
    def code(context: Any, builder: Any, _: Any, values: Any) -> Any:
        factor = builder.extract_value(values[4], 0)

        def add(row: int, total: Any) -> Any:
            place = {"along": row} if turned else {"down": row}
            address = _address(context, builder, matrix, values[1:], **place)
            return multiplied_add(builder, spread(builder, builder.load(address)), factor, total)

        return each(builder, add, values[0])

    return code


@instruction
def add_products(_: Any, sums: Any, matrix: Any, row: Any, column: Any, factor: Any) -> Any:  # noqa: ARG001
    """Return a tile with a row added to each of its own, times elements below one another."""
    return sums(sums, matrix, types.intp, types.intp, factor), _adding(matrix, turned=False)


@instruction
def add_turned(_: Any, sums: Any, matrix: Any, row: Any, column: Any, factor: Any) -> Any:  # noqa: ARG001
    """Return a tile with a row added to each of its own, times elements beside one another."""
    return sums(sums, matrix, types.intp, types.intp, factor), _adding(matrix, turned=True)


@instruction
def times(_: Any, tile: Any, number: Any) -> Any:  # noqa: ARG001
    """Return a tile times a number of its type."""

    def code(__: Any, builder: Any, ___: Any, values: Any) -> Any:
        factor = spread(builder, values[1])
        return each(builder, lambda _, row: builder.fmul(row, factor), values[0])

    return tile(tile, tile.number), code


def _by_row(instruction: str) -> Code:
    def code(_: Any, builder: Any, __: Any, values: Any) -> Any:
        numbers = builder.extract_value(values[1], 0)

        def change(row: int, vector: Any) -> Any:
            number = shuffled(builder, numbers, numbers, [row] * SIDE)
            return getattr(builder, instruction)(vector, number)

        return each(builder, change, values[0])

    return code


@instruction
def times_each(_: Any, tile: Any, numbers: Any) -> Any:
    """Return a tile each of whose rows is multiplied by a number of its own."""
    return tile(tile, numbers), _by_row("fmul")


@instruction
def less_each(_: Any, tile: Any, numbers: Any) -> Any:
    """Return a tile from each of whose rows a number of its own is taken."""
    return tile(tile, numbers), _by_row("fsub")


@instruction
def larger(_: Any, one: Any, other: Any) -> Any:
    """Return the larger of each pair; that of the second tile where one of them is NaN."""

    def code(__: Any, builder: Any, ___: Any, values: Any) -> Any:
        return each(builder, lambda _, *rows: the_larger(builder, *rows), *values)

    return one(one, other), code


@instruction
def first_of(_: Any, tile: Any, counts: Any, column: Any, number: Any) -> Any:  # noqa: ARG001
    """Return a tile that begins at a column, with a number from each row's count of columns on."""

    def code(context: Any, builder: Any, __: Any, values: Any) -> Any:
        data = _parts(context, builder, counts, values[1]).data
        rest = spread(builder, context.cast(builder, values[3], number, tile.number))
        places = ir.Constant(ir.VectorType(values[2].type, SIDE), list(range(SIDE)))

        def change(row: int, vector: Any) -> Any:
            count = builder.load(builder.gep(data, [ir.Constant(values[2].type, row)]))
            left = spread(builder, builder.sub(count, values[2]))
            return builder.select(builder.icmp_signed("<", places, left), vector, rest)

        return each(builder, change, values[0])

    return tile(tile, counts, types.intp, number), code
