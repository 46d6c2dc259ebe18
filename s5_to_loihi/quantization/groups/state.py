"""SCALED_STATE and LEAN_STATE: the recurrence of a block."""

from __future__ import annotations

from typing import Any

import numpy as np

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.network.network import Endpoint
from s5_to_loihi.network.neurons import NeuronKind
from s5_to_loihi.network.neurons.lean_state import LEAN_STATE, LeanStateConstants
from s5_to_loihi.network.neurons.scaled_state import SCALED_STATE, ScaledStateConstants
from s5_to_loihi.network.widths import MULTIPLIER_BITS, STATE_BITS
from s5_to_loihi.quantization.bounds import state_bounds
from s5_to_loihi.quantization.draft import Draft, Message, Reader, TensorScale, affordable_bits
from s5_to_loihi.quantization.float_weights import GAIN_BITS, GAIN_FACTOR_BITS, FloatFormat
from s5_to_loihi.quantization.folding import FoldedBlock
from s5_to_loihi.quantization.formats import (
    best_exponent,
    covering_exponents,
    multipliers,
    resolvable,
    within,
)
from s5_to_loihi.quantization.rounding import RoundedRows, moments

#: Bits that a state register keeps above the largest value of the calibration data.
STATE_HEADROOM_BITS = 3
#: Bits of a state's resolution that may be given up so that its range is proven for every input.
BITS_FOR_PROOF = 4
#: The eigenvalues of a lean state. Its messages are as coarse as its registers, so that nothing is
#: given up for a proof.
LEAN_A = Format(STATE_BITS, STATE_BITS - 1)
#: Products that are floored in the imaginary part of a lean step; in the real part as many are
#: added as subtracted.
FLOORS = 4


def add_state(
    draft: Draft, name: str, folded: FoldedBlock, hidden: Message
) -> tuple[Message, Message]:
    """Quantize the recurrence of block ``name``; return both parts of its messages."""
    group = f"{name}.state"
    rows, fitted, bias = _fit(draft, name, folded, hidden)
    lean, bits = draft.precision.lean, draft.precision.bits("state", f"{name}.x")
    recurrence, a = (_lean_eigenvalues if lean else _decay)(draft, name, folded.a)
    x = draft.floats[f"{name}.x"]
    columns, offset = folded.gain[:, None] * fitted, folded.gain * bias
    bounds = state_bounds(a, columns, *hidden.interval, offset, noise=0.0)
    finest = _register_exponents(x, bits, bounds, offset, 0 if lean else BITS_FOR_PROOF)
    # A bit for the bias, and for what there is of the state.
    finest = draft.narrow(finest, 1, rows, hidden, hidden, gain=np.abs(folded.gain))
    exponents = resolvable(finest, np.abs(folded.gain) * rows.steps, 0)
    message_bits, message_shift = _message_shifts(draft, name, folded, exponents, bits)
    if lean:
        # Then no message saturates.
        message_shift = np.full_like(message_shift, max(0, bits - message_bits))
    gains = folded.gain * rows.steps * np.exp2(exponents)
    gain_bits = GAIN_BITS if isinstance(rows.digits, FloatFormat) else MULTIPLIER_BITS
    parts = np.stack([gains.real, gains.imag], axis=1)
    gain, gain_shift = multipliers(parts, f"{name}.gain", gain_bits)
    sent = exponents - message_shift
    register, message = Format(bits, int(exponents.min())), Format(message_bits, int(sent.min()))
    bias_integers = np.rint(np.exp2(exponents) * offset)
    both: dict[str, Any] = {
        "gain_re": gain[:, 0],
        "gain_im": gain[:, 1],
        "gain_shift": gain_shift,
        "bias_re": within(bias_integers.real, register, f"{name}.B bias"),
        "bias_im": within(bias_integers.imag + lean * FLOORS / 2, register, f"{name}.B bias"),
        "x": register,
        "g": message,
        "rectified": int(folded.rectified),
        "digit_bits": rows.digits.bits,
    }
    kind: NeuronKind = LEAN_STATE if lean else SCALED_STATE
    if lean:
        constants: tuple = LeanStateConstants(
            **recurrence, message_shift=int(message_shift[0]), **both
        )
    else:
        constants = ScaledStateConstants(**recurrence, message_shift=message_shift, **both)
    for suffix, part in (("re", "real"), ("im", "imag")):
        draft.scales.append(TensorScale(f"{group}.x_{suffix}", f"{name}.x", exponents, part))
        draft.scales.append(TensorScale(f"{group}.g_{suffix}", f"{name}.g", sent, part))
    registers = ("x_re", "x_im", "drive_re", "drive_im")
    formats = {value: register if value in registers else message for value in kind.values}
    g_re, g_im = draft.add(group, kind, constants, formats, [hidden], sent)
    return g_re, g_im


def _fit(
    draft: Draft, name: str, folded: FoldedBlock, hidden: Message
) -> tuple[RoundedRows, np.ndarray, np.ndarray]:
    """Round B to give the drive before its gain, which is complex.

    Returns:
        ``(rows, weights, bias)``: a row holds the real parts, then the imaginary ones, with a step
        for both; the weights (P, H) complex that it stands for; the bias (P,) complex.
    """
    count = len(folded.a)
    # Without the bias, which is added after the gain.
    drive = draft.floats[f"{name}.drive"]
    both = moments(hidden.integers, np.concatenate([drive.real, drive.imag], axis=-1))
    synapses = [
        (f"{name}.B_{part}", hidden, Endpoint(f"{name}.state", f"bu_{part}"))
        for part in ("re", "im")
    ]
    weight = np.concatenate([folded.b.real, folded.b.imag], axis=1)
    rows = draft.weigh(f"{name}.B", weight, both, synapses, GAIN_FACTOR_BITS)
    b_re, b_im = np.split(rows.integers, 2, axis=1)
    fitted = rows.steps[:, None] * (b_re + 1j * b_im)
    return rows, fitted, both.wanted[:count] + 1j * both.wanted[count:] - fitted @ both.mean


def _decay(draft: Draft, name: str, a: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """Return SCALED_STATE's constants of the eigenvalues, and the complex numbers they are."""
    bits = draft.precision.bits("eigenvalue", f"{name}.eigenvalues")
    decay, shift = eigenvalues(a, f"{name}.eigenvalues", bits)
    real, imaginary = np.ldexp(decay.T.astype(float), -shift)
    constants = {"decay_re": decay[:, 0], "decay_im": decay[:, 1], "decay_shift": shift}
    return constants | {"decay": Format(bits, 0)}, 1 + real + 1j * imaginary


def _lean_eigenvalues(draft: Draft, name: str, a: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """Return the same of LEAN_STATE."""
    one = 1 << LEAN_A.exponent
    parts = np.rint(np.stack([a.real, a.imag], axis=1) * one).astype(np.int64)
    for each in parts:
        each[:] = _moved_inwards(int(each[0]), int(each[1]), one)
    constants = {"a_re": parts[:, 0], "a_im": parts[:, 1], "a": LEAN_A}
    return constants, (parts[:, 0] + 1j * parts[:, 1]) / one


def eigenvalues(a: np.ndarray, where: str, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Write eigenvalues as ``a - 1``, with the digits of the slowest part of each.

    Args:
        a: (P,) complex, inside the unit circle.
        where: what to call them in an error.
        bits: of the integers.

    Returns:
        ``(integers (P, 2), shifts (P,))``: real and imaginary parts, moved inwards where rounding
        left the unit circle.
    """
    decay, shifts = multipliers(np.stack([a.real - 1, a.imag], axis=1), where, bits)
    for parts, shift in zip(decay, shifts, strict=True):
        # In integers without a width: these squares have up to 95 bits.
        one = 1 << int(shift)
        re, im = _moved_inwards(one + int(parts[0]), int(parts[1]), one)
        parts[:] = re - one, im
    return decay, shifts


def _moved_inwards(re: int, im: int, one: int) -> tuple[int, int]:
    while re * re + im * im >= one * one:
        if abs(re) >= abs(im):
            re -= 1 if re > 0 else -1
        else:
            im -= 1 if im > 0 else -1
    return re, im


def _register_exponents(
    x: np.ndarray, bits: int, bounds: np.ndarray, offset: np.ndarray, for_proof: int
) -> np.ndarray:
    """Return the fractional bits of each state.

    Proven for every input where that costs no more than ``for_proof`` bits.
    """
    largest, constant = _largest_part(x).max(axis=(0, 1)), _largest_part(offset)
    measured = np.minimum(
        covering_exponents(largest, bits - STATE_HEADROOM_BITS),
        covering_exponents(constant, bits),
    )
    # A little room for the rounding of every step, which the final proof counts exactly.
    proven = covering_exponents(np.abs(bounds).max(axis=(1, 2)) * 1.002, bits)
    return np.where(measured - for_proof <= proven, np.minimum(measured, proven), measured)


def _message_shifts(
    draft: Draft, name: str, folded: FoldedBlock, exponents: np.ndarray, state_bits: int
) -> tuple[int, np.ndarray]:
    """Return the bits of the messages and each state's right shift to them.

    They cover the state before its ReLU: one that was negative may not always be.
    """
    x = draft.floats[f"{name}.x"]
    largest = _largest_part(x).max(axis=(0, 1))
    combined = np.concatenate([folded.c.real * largest, folded.c.imag * largest], axis=1)
    requested = draft.precision.bits("activation", f"{name}.g")
    readers = [Reader(combined, f"{name}.C")]
    bits = affordable_bits(f"{name}.g", requested, readers, draft.precision, draft.notes)
    wanted = [best_exponent(np.stack([one.real, one.imag]), bits) for one in np.moveaxis(x, -1, 0)]
    finest = np.minimum(exponents, np.array(wanted))
    g = draft.floats[f"{name}.g"]
    reader = Reader(np.concatenate([folded.c.real, folded.c.imag]), f"{name}.C")
    shifts = exponents - draft.balanced(finest, np.stack([g.real, g.imag]), [reader])
    return bits, np.minimum(shifts, state_bits - 1).astype(np.int64)


def _largest_part(values: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(values.real), np.abs(values.imag))
