"""A quantized network evaluated in Python's integers, neuron by neuron and token by token.

Written from what the kinds of neurons say about themselves, with nothing of the package's own
arithmetic: neither ``fixed_point`` nor a kind's ``update`` is used here.
"""

from __future__ import annotations

import numpy as np

from s5_to_loihi.network.neurons.inverse_root import TABLE


def clip(value: int, bits: int) -> int:
    largest = 2 ** (bits - 1) - 1
    return max(-largest - 1, min(largest, value))


def floored(value: int, bits: int) -> int:
    """``value / 2**bits``, rounded down."""
    return value // 2**bits


def nearest(value: int, bits: int) -> int:
    """``value / 2**bits`` to the nearest integer, halves upwards."""
    return (2 * value + 2**bits) // 2 ** (bits + 1)


def piecewise(magnitude: int, function) -> int:
    """A piecewise-linear function; it stays at what it is just before the last knot."""
    distance = 2**function.segment_shift
    magnitude = min(magnitude, (len(function.knots) - 1) * distance - 1)
    knot, within = divmod(magnitude, distance)
    rise = function.knots[knot + 1] - function.knots[knot]
    return function.knots[knot] + nearest(rise * within, function.segment_shift)


class Neuron:
    """One neuron's constants as Python integers, those of nested tuples by attribute as well."""

    def __init__(self, constants, index: int):
        for name, value in zip(constants._fields, constants, strict=True):
            if isinstance(value, np.ndarray):
                value = int(value[index])
            elif hasattr(value, "_fields") and not {"bits", "knots"} & set(value._fields):
                value = Neuron(value, index)
            setattr(self, name, value)


def digits_together(accumulators: dict[str, int], port: str, digit_bits: int) -> int:
    names = [port, f"{port}_1", f"{port}_2", f"{port}_3"]
    return sum(accumulators[name] * 2 ** (digit_bits * k) for k, name in enumerate(names))


def rescaled(total: int, c) -> int:
    return clip(floored(total * c.multiplier, c.shift), c.fine.bits)


def affine(accumulators, port: str, c) -> int:
    total = digits_together(accumulators, port, c.weighted.digit_bits)
    return floored(rescaled(total, c.weighted) + c.bias, c.rounding_shift)


def scaled_dense(ports, state, c):
    value = affine(ports, "weighted", c.affine)
    kept = max(value, 0) if c.rectified else value
    return {"activation": clip(kept, c.affine.result.bits), "affine": value}


def scaled_state(ports, state, c):
    bu = [digits_together(ports, name, c.digit_bits) for name in ("bu_re", "bu_im")]
    drive = complex_product((c.gain_re, c.gain_im), bu, c.gain_shift)
    drive = [clip(drive[0] + c.bias_re, c.x.bits), clip(drive[1] + c.bias_im, c.x.bits)]
    x = [state["x_re"], state["x_im"]]
    change = complex_product((c.decay_re, c.decay_im), x, c.decay_shift)
    x = [clip(x[part] + drive[part] + change[part], c.x.bits) for part in (0, 1)]
    above = x[0] > 0 or (x[0] == 0 and x[1] > 0)
    kept = x if above or not c.rectified else [0, 0]
    scaled = [nearest(part, c.message_shift) for part in kept]
    return {
        "x_re": x[0], "x_im": x[1],
        "g_re": clip(scaled[0], c.g.bits), "g_im": clip(scaled[1], c.g.bits),
        "drive_re": drive[0], "drive_im": drive[1],
        "scaled_re": scaled[0], "scaled_im": scaled[1],
    }  # fmt: skip


def lean_state(ports, state, c):
    bu = [digits_together(ports, name, c.digit_bits) for name in ("bu_re", "bu_im")]
    drive = floored_product((c.gain_re, c.gain_im), bu, c.gain_shift)
    drive = [drive[0] + c.bias_re, drive[1] + c.bias_im]
    moved = floored_product((c.a_re, c.a_im), [state["x_re"], state["x_im"]], c.a.exponent)
    x = [clip(moved[part] + drive[part], c.x.bits) for part in (0, 1)]
    above = x[0] > 0 or (x[0] == 0 and x[1] > 0)
    kept = x if above or not c.rectified else [0, 0]
    g = [clip(floored(part, c.message_shift), c.g.bits) for part in kept]
    return {
        "x_re": x[0], "x_im": x[1], "g_re": g[0], "g_im": g[1],
        "drive_re": drive[0], "drive_im": drive[1],
    }  # fmt: skip


def floored_product(left, right, bits: int) -> list[int]:
    (a, b), (x, y) = left, right
    return [
        floored(a * x, bits) - floored(b * y, bits),
        floored(a * y, bits) + floored(b * x, bits),
    ]


def complex_product(left, right, bits: int) -> list[int]:
    (a, b), (x, y) = left, right
    return [nearest(a * x - b * y, bits), nearest(a * y + b * x, bits)]


def output_total(ports, c) -> int:
    projection = rescaled(
        digits_together(ports, "projection", c.projection.digit_bits), c.projection
    )
    through = rescaled(ports["feedthrough"], c.feedthrough)
    return floored(projection + through + c.bias, c.rounding_shift)


def scaled_output(ports, state, c):
    total = output_total(ports, c)
    y = clip(total, c.y.bits)
    return {"y": y, "activation": max(y, 0), "total": total}


def table_output(ports, state, c):
    total = output_total(ports, c.output)
    bits = c.output.y.bits
    y = clip(total, bits)
    entry = piecewise(abs(y), c.table)
    activation = (entry if y > 0 else -entry) if c.odd else max(y, 0) + entry
    return {
        "y": y,
        "activation": clip(activation, bits),
        "total": total,
    }


def leaky_output(ports, state, c):
    total = output_total(ports, c.output)
    bits = c.output.y.bits
    y = clip(total, bits)
    activation = y if y >= 0 else nearest(y * c.slope, c.slope_shift)
    return {"y": y, "activation": clip(activation, bits), "total": total}


def residual_sum(product: int, residual: int, c):
    fine = clip(floored(product, c.value_shift), c.fine.bits)
    fine += clip(floored(residual * 2**15, c.residual_shift), c.fine.bits)
    total = nearest(fine, c.rounding_shift)
    return {"hidden": clip(max(total, 0) if c.rectified else total, c.hidden.bits), "total": total}


def gate_opening(ports, c):
    gate = clip(affine(ports, "gate", c.gate), c.gate.result.bits)
    half = piecewise(abs(gate), c.sigmoid)
    return gate, 2**14 + (half if gate > 0 else -half)


def scaled_residual(ports, state, c):
    return residual_sum(ports["value"] * 2**15, ports["residual"], c)


def scaled_gate(ports, state, c):
    gate, opening = gate_opening(ports, c)
    end = residual_sum(ports["value"] * opening, ports["residual"], c.end)
    return {"gate_affine": gate, "opening": opening, **end}


def scaled_full_gate(ports, state, c):
    value = affine(ports, "value", c.value)
    gate, opening = gate_opening(ports, c.base)
    kept = clip(value, c.value.result.bits)
    end = residual_sum(kept * opening, ports["residual"], c.base.end)
    return {"value_affine": value, "gate_affine": gate, "opening": opening, **end}


def residual_output(ports, state, c):
    first = table_output(ports, state, c.output)
    end = residual_sum(first["activation"] * 2**15, ports["residual"], c.end)
    return {"y": first["y"], "activation": first["activation"], **end}


def gelu_gate(ports, state, c):
    value = clip(affine(ports, "value", c.value), c.value.result.bits)
    gate = clip(affine(ports, "gate", c.gate), c.gate.result.bits)
    opening = max(gate, 0) + piecewise(abs(gate), c.gelu)
    product = nearest(value * opening, c.product_shift)
    return {
        "product": clip(product, c.product.bits), "total": product,
        "value_affine": value, "gate_affine": gate,
    }  # fmt: skip


def residual_dense(ports, state, c):
    value = affine(ports, "weighted", c.affine)
    end = residual_sum(clip(value, c.affine.result.bits) * 2**15, ports["residual"], c.end)
    return {"affine": value, **end}


def statistics(ports, state, c):
    squares = ports["square_low"] + ports["square_high"] * 2**18
    radicand = max(squares * c.neurons - ports["sum"] ** 2, 0) + c.epsilon
    # To [1, 4) by an even power of two, then its first 20 fractional bits.
    doublings = (62 - radicand.bit_length()) // 2
    fraction = radicand * 4**doublings // 2**40
    return {
        "mean": clip(nearest(ports["sum"] * c.reciprocal, c.reciprocal_shift), c.mean.bits),
        "mantissa": piecewise(fraction - 2**20, TABLE),
        "exponent": max(c.exponent - doublings, 0),
    }


def layer_norm(ports, state, c):
    centred = ports["hidden"] * 2**c.centring - ports["mean"]
    normalised = clip(nearest(centred * ports["mantissa"], ports["exponent"]), c.normalised.bits)
    fine = clip(floored(normalised * c.multiplier, c.multiplier_shift), c.fine.bits) + c.bias
    total = floored(fine, c.rounding_shift)
    u = clip(max(total, 0) if c.rectified else total, c.u.bits)
    return {"u": u, "centred": centred, "normalised": normalised, "total": total}


def with_squares(program, message):
    """What a program computes, and the square of its message in two digits."""

    def squared(ports, state, c):
        values = program(ports, state, c)
        high, low = divmod(values[message] ** 2, 2**18)
        return {**values, "square_low": low, "square_high": high}

    return squared


def mean(ports, state, c):
    total = clip(state["sum"] + floored(ports["hidden"], c.input_shift), c.sum_bits)
    value = clip(floored(total * c.reciprocal, c.reciprocal_shift), c.hidden.bits)
    assert c.lowered == c.hidden
    return {"sum": total, "mean": value, "lowered": value}


PROGRAMS = {
    program.__name__: program
    for program in (
        *(scaled_dense, scaled_state, lean_state, scaled_output, table_output),
        *(scaled_residual, scaled_gate, scaled_full_gate, mean),
        *(leaky_output, gelu_gate, residual_dense, statistics, layer_norm),
    )
}
PROGRAMS |= {
    f"{program.__name__}_squared": with_squares(program, message)
    for program, message in (
        (scaled_dense, "activation"), (scaled_gate, "hidden"), (scaled_full_gate, "hidden"),
        (scaled_residual, "hidden"), (residual_output, "hidden"), (residual_dense, "hidden"),
        (layer_norm, "u"),
    )
}  # fmt: skip


def evaluate(network, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """``group.value`` -> (tokens, neurons) int64 for one sequence (tokens, features)."""
    neurons = {
        group.name: [Neuron(group.constants, index) for index in range(group.size)]
        for group in network.groups
    }
    rows = [
        (str(edge.source), edge.target, [row.tolist() for row in edge.weights.toarray()])
        for edge in network.synapses
    ]
    states: dict[str, list] = {
        group.name: [dict.fromkeys(group.kind.state, 0) for _ in range(group.size)]
        for group in network.groups
    }
    recorded: dict[str, list] = {
        f"{group.name}.{value}": [] for group in network.groups for value in group.kind.values
    }
    for token in tokens.tolist():
        sent = {"input.token": token}
        for group in network.groups:
            found = []
            for index, neuron in enumerate(neurons[group.name]):
                ports = dict.fromkeys(group.kind.ports, 0)
                for source, target, weights in rows:
                    if target.group == group.name:
                        products = zip(weights[index], sent[source], strict=True)
                        ports[target.name] += sum(weight * value for weight, value in products)
                values = PROGRAMS[group.kind.name](ports, states[group.name][index], neuron)
                states[group.name][index] = {name: values[name] for name in group.kind.state}
                found.append(values)
            for name in group.kind.values:
                column = [values[name] for values in found]
                sent[f"{group.name}.{name}"] = column
                recorded[f"{group.name}.{name}"].append(column)
    return {name: np.array(values, dtype=np.int64) for name, values in recorded.items()}
