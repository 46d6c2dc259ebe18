"""What data mean, decided once: axes, lengths, and how values become tokens.

*Data* are values in the model's own unit, floats or integers: 3 is 3.0, as in calibration. *Tokens*
are integers of a network's input format. ``docs/data.md`` says which command takes what.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from s5_to_loihi.errors import InputError
from s5_to_loihi.fixed_point import limits, to_integers
from s5_to_loihi.network.network import Network, Readout

#: Kinds of numpy's numbers that data may have: integers and floats.
KINDS = "iuf"


class Layout(str, Enum):
    """Which axis of three comes first."""

    TOKENS_FIRST = "tokens-first"  #: (tokens, sequences, features), as everywhere in here
    SEQUENCES_FIRST = "sequences-first"  #: (sequences, tokens, features)


@dataclass(frozen=True, eq=False)
class Data:
    """Sequences as they are computed with; T tokens of the longest, N sequences.

    Attributes:
        values: (T, N, features) integers or floats; what lies behind a sequence's end is padding.
        lengths: (N,) tokens of each sequence; None if all have T.
        notes: how the axes were read, where they could be read otherwise.
    """

    values: np.ndarray
    lengths: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def padded_with_zeros(self, start: int, stop: int) -> np.ndarray:
        """Return tokens ``start`` to ``stop``, with zeros behind the ends of sequences."""
        values = self.values[start:stop]
        if self.lengths is None or start + len(values) <= self.lengths.min():
            return values
        behind = np.arange(start, start + len(values))[:, None] >= self.lengths
        return np.where(behind[..., None], values.dtype.type(0), values)

    def padded_with_themselves(self) -> np.ndarray:
        """Return all values, with sequences that begin again behind their ends.

        What is calibrated with looks like this: zeros would count as typical data.
        """
        if self.lengths is None:
            return self.values
        places = np.arange(len(self.values))[:, None] % self.lengths
        return np.take_along_axis(self.values, places[..., None], axis=0)


def arranged(
    values: np.ndarray,
    where: str,
    layout: Layout | None = None,
    lengths: np.ndarray | None = None,
    length: int | None = None,
) -> Data:
    """Return data with tokens as the first axis and sequences as the second.

    Args:
        values: (tokens, features), or three axes in the order of ``layout``.
        where: what to call them in an error.
        layout: of three axes; None: tokens first, unless something speaks against it.
        lengths: (sequences,) tokens of each, if there is padding behind the shorter ones.
        length: tokens a sequence, where that is known otherwise.

    Raises:
        InputError: neither integers nor floats, not two or three axes; no layout is given and the
            sequences seem to come first; lengths that do not suit the values.
    """
    values = np.asanyarray(values)
    _check_kind_and_axes(values, where)
    if values.ndim == 2:
        return Data(values[:, None], _checked_lengths(where, lengths, len(values), 1))
    notes: tuple[str, ...] = ()
    first, second, _ = values.shape
    if layout is None and values.size:
        _refuse_doubtful(where, values.shape, lengths, length)
        notes = _said(where, values.shape)
    if layout is Layout.SEQUENCES_FIRST:
        values, first, second = values.swapaxes(0, 1), second, first
    return Data(values, _checked_lengths(where, lengths, first, second), notes)


def _said(where: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    if shape[1] == 1:
        return ()
    tokens, sequences, features = shape
    return (
        f"{_file(where)}: {sequences:,} sequences of {tokens:,} tokens of {features:,} features, as"
        f" the axes {shape} are (tokens, sequences, features); if the sequences come first, say"
        f" --layout {Layout.SEQUENCES_FIRST.value}",
    )


def _file(where: str) -> str:
    """Return a file's name without its place: notes are kept, and must not depend on it."""
    return os.path.basename(where) or where


def _refuse_doubtful(
    where: str, shape: tuple[int, ...], lengths: np.ndarray | None, length: int | None
) -> None:
    """Ask for the layout where there is a sign that the sequences come first."""
    first, second, _ = shape
    if first == second:
        return
    sign = ""
    if length is not None and second == length and first != length:
        sign = f"sequences have {length:,} tokens, which is the second axis"
    elif lengths is not None and np.shape(lengths) == (first,):
        sign = f"there are {first:,} lengths, one for each of the first axis"
    elif first == 1:
        sign = f"sequences of one token each would be {second:,}"
    if sign:
        raise InputError(
            where,
            f"has the axes {shape}, and {sign}: do tokens or sequences come first",
            f"Say --layout {Layout.SEQUENCES_FIRST.value} or --layout {Layout.TOKENS_FIRST.value}"
            " (in Python: layout=)",
        )


def _checked_lengths(
    where: str, lengths: np.ndarray | None, tokens: int, sequences: int
) -> np.ndarray | None:
    if lengths is None:
        return None
    lengths = np.asarray(lengths)
    if lengths.dtype.kind not in "iu" or lengths.shape != (sequences,):
        raise InputError(
            where,
            f"has lengths that are {lengths.dtype} of shape {lengths.shape}, expected integers"
            f" ({sequences},)",
            "Give the tokens of each sequence",
        )
    if lengths.min() < 1 or lengths.max() > tokens:
        raise InputError(
            where,
            f"has lengths of {lengths.min()} to {lengths.max()}, the values have {tokens:,} tokens",
            "Count each sequence's tokens without its padding",
        )
    return None if (lengths == tokens).all() else lengths.astype(np.int64)


def one_hot(ids: np.ndarray, count: int, where: str = "ids") -> np.ndarray:
    """Return the data of a model that begins with an embedding: one-hot vectors of token ids.

    Each vector is one message in the network, which brings one row of the embedding.

    Args:
        ids: (tokens,) or (tokens, sequences) integers, 0 to ``count`` - 1.
        count: rows of the embedding.
        where: what to call the ids in an error.

    Returns:
        (tokens, ``count``) or (tokens, sequences, ``count``) uint8: 1 at the id, else 0.

    Raises:
        InputError: no integers, another number of axes, empty, or an id without a row.

    Examples:
        >>> s5.one_hot(np.array([2, 0]), 3)
        array([[0, 0, 1],
               [1, 0, 0]], dtype=uint8)
    """
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu" or ids.ndim not in (1, 2):
        raise InputError(
            where,
            f"holds {ids.dtype} with {ids.ndim} axes",
            "Give integers (tokens,) or (tokens, sequences)",
        )
    if not ids.size:
        raise InputError(where, f"is empty (shape {ids.shape})")
    if ids.min() < 0 or ids.max() >= count:
        raise InputError(
            where,
            f"goes from {ids.min()} to {ids.max()}, the embedding has rows 0 to {count - 1}",
            "Give the ids that the model was trained with",
        )
    vectors = np.zeros((*ids.shape, count), dtype=np.uint8)
    np.put_along_axis(vectors, ids[..., None].astype(np.int64), 1, axis=-1)
    return vectors


def cut_for_mean(data: Data, where: str, length: int | None) -> Data:
    """Return sequences of the length that a mean is made for; longer ones are cut, and it is said.

    Args:
        data: sequences; those of unequal lengths begin again behind their ends.
        where: what to call them.
        length: tokens that the mean divides by; None: those of the data.

    Raises:
        InputError: the sequences are shorter.
    """
    values = data.padded_with_themselves()
    notes, file = list(data.notes), _file(where)
    tokens, sequences, features = values.shape
    length = length or tokens
    if data.lengths is not None and data.lengths.min() < length:
        notes.append(
            f"{file}: sequences have {data.lengths.min():,} to {data.lengths.max():,} tokens, the"
            f" mean divides by {length:,}: only sequences of that many give what the model does"
        )
    if tokens < length:
        raise InputError(
            where,
            f"has sequences of {tokens:,} tokens, the mean is of {length:,} (--length)",
            "Give whole sequences, or leave the length to the data",
        )
    count = tokens // length
    if count > 1 or tokens > length:
        left = tokens - count * length
        notes.append(
            f"{file}: {sequences:,} sequences of {tokens:,} tokens are cut into"
            f" {count * sequences:,} of {length:,}, as the mean is of that many"
            + (f"; {left:,} tokens of each are left out" if left else "")
        )
        values = values[: count * length].reshape(count, length, sequences, features)
        values = values.swapaxes(0, 1).reshape(length, count * sequences, features)
    return Data(values, None, tuple(notes))


def check_length(network: Network, data: Data, where: str) -> None:
    """Refuse sequences of another length than a mean is made for.

    Raises:
        InputError: the network divides by another number of tokens.
    """
    length = network.sequence_length
    if network.readout is not Readout.MEAN or length is None:
        return
    lengths = np.array([len(data.values)]) if data.lengths is None else data.lengths
    if (lengths == length).all():
        return
    found = str(lengths.min())
    if lengths.min() != lengths.max():
        found += f" to {lengths.max()}"
    raise InputError(
        where,
        f"has sequences of {found} tokens; the network divides by {length:,}, whatever comes",
        f"Give sequences of {length:,} tokens, padded as in training, or quantize for other ones"
        " (--length)",
    )


def as_tokens(
    network: Network,
    inputs: np.ndarray,
    saturate: bool = False,
    where: str = "input",
    raw: bool = False,
) -> tuple[np.ndarray, int]:
    """Return data as tokens, and how many values were saturated.

    Args:
        network: that they are for.
        inputs: (tokens, features) or (tokens, batch, features) values, floats or integers; they are
            quantized to the input format (floor, as the reference does).
        saturate: clip values outside the input format instead of refusing them.
        where: what to call the data in an error.
        raw: take integers as they are, as integers of the input format.

    Returns:
        ``((tokens, batch, features) int32, number of clipped values)``.

    Raises:
        InputError: neither integers nor floats, floats that are said to be raw, NaN, empty, wrong
            number of axes or features, or values outside the input format, infinities among them.

    Examples:
        >>> tokens, clipped = s5.as_tokens(bundle.network, frames)
        >>> tokens.shape, tokens.dtype.name, clipped
        ((200, 1, 257), 'int32', 0)
    """
    inputs = _suitable(network, inputs, where)
    if raw and inputs.dtype.kind == "f":
        raise InputError(
            where,
            f"holds {inputs.dtype}, raw integers were said",
            "Leave out --raw: floats are values",
        )
    lowest, highest = limits(network.input_format.bits)
    if not raw:
        integers, clipped = to_integers(inputs, network.input_format, where)
    else:
        integers, clipped = inputs, 0
        if inputs.min() < lowest or inputs.max() > highest:
            integers = np.clip(inputs, lowest, highest)
            clipped = int(np.count_nonzero(integers != inputs))
    if clipped and not saturate:
        remedy = "Scale the data, or saturate it (--saturate)"
        if not raw and inputs.dtype.kind != "f":
            remedy = (
                "Integers are values here: if these are integers of the input format, say so (--raw"
                ", raw=True); else scale the data, or saturate it (--saturate)"
            )
        raise InputError(
            where,
            f"has {clipped:,} values outside the input format {network.input_format}, the largest"
            f" {inputs.max()}, the lowest {inputs.min()}",
            remedy,
        )
    return _as_int32(network, integers), clipped


def check_tokens(network: Network, tokens: np.ndarray, where: str = "tokens") -> np.ndarray:
    """Return tokens, (tokens, batch, features) int32, if they are integers of the input format.

    Raises:
        InputError: floats, or what ``as_tokens`` refuses.
    """
    tokens = np.asarray(tokens)
    refuse_floats(network, tokens, where)
    return as_tokens(network, tokens, where=where, raw=True)[0]


def refuse_floats(network: Network, tokens: np.ndarray, where: str) -> None:
    """Refuse values where tokens are wanted: truncated they would be garbage (InputError)."""
    if tokens.dtype.kind == "f":
        raise InputError(
            where,
            f"holds {tokens.dtype}; tokens are integers of the input format {network.input_format}",
            "Convert values with s5_to_loihi.as_tokens(network, values)",
        )


#: More than this share of values outside the input format is no accident.
MOST_SATURATED = 0.01


def saturated_said(saturated: int, of: int, where: str) -> tuple[str, ...]:
    """Say that too many values were clipped to the input format; nothing if few were."""
    if saturated <= MOST_SATURATED * of:
        return ()
    return (
        f"{saturated / of:.1%} of the values of {where} are outside the input format and were"
        f" clipped (more than {MOST_SATURATED:.0%}): the data are larger than the calibration's;"
        " scale them, or quantize with data like them",
    )


#: The entry of a bundle's source that says how large its calibration data were.
REACHES = "calibration reaches"
#: Formats leave room for data this many times as large as those of the calibration: up to there
#: the loss stays as stated (docs/data.md), beyond it values in between saturate.
LOUDER = 4.0


def louder_said(source: Mapping[str, str], largest: float, where: str) -> tuple[str, ...]:
    """Say that data are larger than a network was calibrated for; nothing if that is unknown.

    Args:
        source: of the bundle.
        largest: magnitude of the data's values.
        where: what to call them.
    """
    try:
        reaches = float(source.get(REACHES, "nan"))
    except ValueError:
        return ()
    if not largest > LOUDER * reaches:
        return ()
    return (
        f"{where} reaches {largest:.4g}, the calibration data {reaches:.4g}: beyond {LOUDER:.0f}"
        " times that values in between saturate and outputs are not the float model's; scale the"
        " data, or quantize with data like them",
    )


def largest_of(network: Network, tokens: np.ndarray) -> float:
    """Return the largest magnitude of tokens, as a value."""
    largest = max(int(tokens.max(initial=0)), -int(tokens.min(initial=0)))
    return float(np.ldexp(float(largest), -network.input_format.exponent))


def integers_said(data: np.ndarray, where: str, raw: bool) -> tuple[str, ...]:
    """Return what to say of how integers were understood; nothing for floats."""
    if np.asarray(data).dtype.kind == "f" or raw:
        return ()
    return (
        f"{where} holds {np.asarray(data).dtype}: taken as values, 3 is 3.0, as in calibration;"
        " integers of the input format need --raw",
    )


def _suitable(network: Network, inputs: np.ndarray, where: str) -> np.ndarray:
    inputs = np.asarray(inputs)
    _check_kind_and_axes(inputs, where)
    size = network.input_size
    if inputs.shape[-1] != size:
        turned = inputs.ndim == 2 and len(inputs) == size
        raise InputError(
            where,
            f"has {inputs.shape[-1]} features a token, the network takes {size}",
            "The axes look like (features, tokens): transpose them" if turned else "",
        )
    if 0 in inputs.shape:
        raise InputError(where, f"is empty (shape {inputs.shape})")
    return inputs


def _check_kind_and_axes(inputs: np.ndarray, where: str) -> None:
    if inputs.dtype.kind not in KINDS:
        raise InputError(where, f"holds {inputs.dtype}, neither integers nor floats")
    if inputs.ndim not in (2, 3):
        raise InputError(
            where,
            f"has {inputs.ndim} axes",
            "Give (tokens, features) or (tokens, sequences, features)",
        )


def _as_int32(network: Network, integers: np.ndarray) -> np.ndarray:
    tokens = integers.reshape(len(integers), -1, network.input_size)
    # Writable, since kernels would be compiled once more for arrays that are not.
    return np.require(tokens, np.int32, ["C", "W"])
