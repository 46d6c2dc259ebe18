"""What a kind declares of its constants, and the one way to read them.

The constants of a kind are a named tuple. Its annotations say of each field what its integers are:

* ``Annotated[Integers, format]``: one integer a neuron, (n,) int64. The format is a ``Format``,
  or the name of the field that holds it (``"bias_format"``, or ``"weighted.fine"`` inside a nested
  tuple);
* ``Shift``, ``Shifts``: an amount of bits that a right shift takes, for all neurons or for each;
* ``Format``: of values that the arithmetic computes;
* ``Table``: integers that all neurons of a group share;
* ``int``: any other integer, with an ``Allowed`` if it has a range of its own;
* another named tuple of constants.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterator
from operator import attrgetter
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np

from s5_to_loihi.fixed_point import Format, Integers, limits
from s5_to_loihi.network.widths import LARGEST_SHIFT, MULTIPLIER_BITS


class Allowed(NamedTuple):
    """The range of a constant's integers where its format alone does not give it.

    Attributes:
        lowest, highest: inclusive.
        found: what an error says of an integer outside, e.g. ``"is {}"``.
    """

    lowest: int
    highest: int
    found: str = "is {}"


_RIGHT_SHIFT = Allowed(0, LARGEST_SHIFT, "shifts right by {} bits")
#: Of factors: their fractional bits are in the right shift of the product.
MULTIPLIER = Format(MULTIPLIER_BITS, 0)
#: Of amounts of right shifts, one for each neuron.
SHIFT = Format(LARGEST_SHIFT.bit_length() + 1, 0)
MULTIPLIER_RANGE = Allowed(*limits(MULTIPLIER_BITS))
Multipliers = Annotated[Integers, MULTIPLIER]
Shift = Annotated[int, _RIGHT_SHIFT]
Shifts = Annotated[Integers, SHIFT, _RIGHT_SHIFT]
Table = tuple[int, ...]


#: A named tuple of constants.
Constants: TypeAlias = tuple[Any, ...]


class Field(NamedTuple):
    """What is declared of a field of constants.

    Attributes:
        name: of the field.
        type: ``Integers``, ``Format``, ``Table``, ``int``, or a named tuple of constants.
        format: of an array: the format itself, or the name of the field that holds it.
        allowed: the range of its integers, if they have one of their own.
    """

    name: str
    type: Any
    format: Format | str | None
    allowed: Allowed | None

    @property
    def is_array(self) -> bool:
        """Whether the field is one integer a neuron."""
        return _class_of(self.type) is np.ndarray

    @property
    def is_nested(self) -> bool:
        """Whether the field is a named tuple of constants."""
        return hasattr(self.type, "_fields") and self.type is not Format


def _class_of(hint: Any) -> Any:
    origin = typing.get_origin(hint) or hint
    # From numpy 2.5 on NDArray is an alias with a value of its own.
    value = getattr(origin, "__value__", None)
    return origin if value is None else _class_of(value)


@functools.cache
def declared_fields(constants: type[Constants]) -> tuple[Field, ...]:
    """Return what a named tuple of constants declares of its fields, in their order.

    Raises:
        TypeError: a field is declared as nothing that a constant can be.
    """
    fields = []
    for name, hint in typing.get_type_hints(constants, include_extras=True).items():
        metadata = getattr(hint, "__metadata__", ())
        field = Field(
            name,
            typing.get_args(hint)[0] if metadata else hint,
            next((one for one in metadata if isinstance(one, (Format, str))), None),
            next((one for one in metadata if isinstance(one, Allowed)), None),
        )
        known = field.is_array or field.is_nested or field.type in (Format, Table, int)
        if not known or field.is_array != (field.format is not None):
            raise TypeError(f"{constants.__name__}.{name} declares no constant: {hint}")
        fields.append(field)
    return tuple(fields)


def constant_fields(constants: Constants, prefix: str = "") -> Iterator[tuple[Field, Any]]:
    """Yield the fields of a named tuple of constants with their values.

    Those of nested tuples come in their place, named ``outer.inner``. The format of an array is
    the format itself, wherever it is held.
    """
    for field in declared_fields(type(constants)):
        value = getattr(constants, field.name)
        if field.is_nested:
            yield from constant_fields(value, f"{prefix}{field.name}.")
        else:
            held = field.format
            if isinstance(held, str):
                held = attrgetter(held)(constants)
            yield field._replace(name=f"{prefix}{field.name}", format=held), value


def array_constants(constants: Constants) -> Iterator[tuple[str, Integers, Format]]:
    """Yield name, integers (n,) and format of each per-neuron constant."""
    for field, value in constant_fields(constants):
        if isinstance(field.format, Format):
            yield field.name, value, field.format
