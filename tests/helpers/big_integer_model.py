"""Exact integer S5 network in plain Python integers: a test reference, independent of the package.

Written from the formulas of Intel's fixed-point model (semantics page, sections 1, 5 and 6), not
from the package's code. A value v with exponent e stands for v / 2**e; integers never wrap around.
ADD, ADD*, MUL, MM, chexp and recfg are that page's names. Only `random_model` computes with numpy.
"""

from functools import partial

import numpy as np

SIGMOID_KNOTS = [0, 3786, 6239, 7415, 7897, 8082, 8151, 8177]
NORM_STEPS = [
    ("mean", "norm_input_minus_mean"),
    ("invsq_var", "norm_output_raw"),
    ("scale", "norm_output_scaled"),
    ("bias", "norm_output_scaled_bias"),
]


def saturate(value, bits):
    """sat(v, b): clip to the range of a signed number of b bits."""
    return max(-(1 << (bits - 1)), min((1 << (bits - 1)) - 1, value))


def shift_exponent(value, old, new):
    """Move to another exponent without saturation: floor when it falls, exact when it rises."""
    return value << (new - old) if new >= old else value >> (old - new)


def change_exponent(value, old, new):
    """chexp(v, e -> e', 16), which is also recfg for a value that keeps its 16 bits."""
    return value if new == old else saturate(shift_exponent(value, old, new), 16)


def lower_product(product, product_exponent, result_exponent):
    """The end of MUL and MM: sat(p >> (e1 + e2 - eo), 16)."""
    if product_exponent < result_exponent:
        raise ValueError(f"product exponent {product_exponent} is below {result_exponent}")
    return saturate(product >> (product_exponent - result_exponent), 16)


def add_frozen(left, left_exponent, right, right_exponent, result_exponent):
    """ADD*(v1, v2, 16), result exponent given: align to the larger (saturating), add, shift."""
    common = max(left_exponent, right_exponent)
    total = change_exponent(left, left_exponent, common) + change_exponent(
        right, right_exponent, common
    )
    return saturate(shift_exponent(total, common, result_exponent), 16)


def sigmoid(value, exponent):
    """SIGMOID(o): interpolation between eight knots; the result has exponent 14."""
    lut_exponent = min(exponent, 6)
    value = change_exponent(value, exponent, lut_exponent)
    index = min(abs(value) >> lut_exponent, 6)
    fraction = abs(value) & ((1 << lut_exponent) - 1)
    half = ((((1 << lut_exponent) - fraction) * SIGMOID_KNOTS[index]) >> lut_exponent) + (
        (fraction * SIGMOID_KNOTS[index + 1]) >> lut_exponent
    )
    return (1 << 13) + (half if value > 0 else -half)


def sparse_rows(matrix):
    """[[(column, weight), ...] for each row] of a matrix, without the zero weights."""
    return [
        [(column, int(weight)) for column, weight in enumerate(row) if int(weight) != 0]
        for row in matrix
    ]


def multiply_matrix(rows, values, product_exponent, result_exponent):
    """MM: one exact sum per row, one shift, one saturation."""
    return [
        lower_product(
            sum(weight * values[column] for column, weight in row),
            product_exponent,
            result_exponent,
        )
        for row in rows
    ]


def prepare_dense(params):
    """A dense layer with its weight (in, out) as sparse rows per output."""
    return {
        "rows": sparse_rows(zip(*params["weight"], strict=True)),
        "bias": [int(b) for b in params["bias"]],
    }


def prepare_block(params, state_bits):
    """The weights of one block as lists and sparse rows, with its zero initial state."""
    mixer = params["mixer"]
    block: dict = {
        name: [int(value) for value in mixer[name]] for name in ("A_real", "A_imag", "D")
    }
    block |= {name: sparse_rows(mixer[name]) for name in ("B_real", "B_imag", "C_real", "C_imag")}
    block |= {name: prepare_dense(params[name]) for name in ("out1", "out2") if name in params}
    block["norm"] = {name: [int(value) for value in row] for name, row in params["norm"].items()}
    block["norm"]["mean"] = [-value for value in block["norm"]["mean"]]  # the export holds +mean
    zeros = [0] * len(block["A_real"])
    return block | {"state_bits": state_bits, "x_real": zeros, "x_imag": zeros}


def dense(layer, config, values, exponent):
    """DENSE: lower the input to inp_exp if it is larger, then ADD(MM(input, W), bias)."""
    lowered, out_exp = min(exponent, config["inp_exp"]), config["out_exp"]
    values = [change_exponent(value, exponent, lowered) for value in values]
    products = multiply_matrix(layer["rows"], values, lowered + config["weight_exp"], out_exp)
    return [
        saturate(product + change_exponent(bias, config["bias_exp"], out_exp), 16)
        for product, bias in zip(products, layer["bias"], strict=True)
    ]


def run_norm(norm, config, exponents, values, exponent, prefix, record):
    """v = ADD*(h, -mean); v = MUL*(v, invstd); [v = MUL*(v, scale)]; [v = ADD*(v, bias)]."""
    record(values, "norm/norm_input")
    for parameter, name in (step for step in NORM_STEPS if step[0] in norm):
        own, result = config[parameter + "_exp"], exponents[f"{prefix}norm/{name}"]
        if parameter in ("mean", "bias"):
            values = [
                add_frozen(value, exponent, other, own, result)
                for value, other in zip(values, norm[parameter], strict=True)
            ]
        else:
            values = [
                lower_product(value * other, exponent + own, result)
                for value, other in zip(values, norm[parameter], strict=True)
            ]
        exponent = result
        record(values, "norm/" + name)
    record(values, "norm/norm_output", "pre_s5")
    return values, exponent


def next_state(registers, config, bits):
    """The recurrence: each product is floored by itself; the sum saturates at the state's width."""
    x_real, x_imag, a_real, a_imag, bu_real, bu_imag = registers
    real_exp, imag_exp = config["A_real_exp"], config["A_imag_exp"]
    return (
        saturate(
            ((a_real * x_real) >> real_exp)
            - ((a_imag * x_imag) >> real_exp)
            + shift_exponent(bu_real, config["Bu_re_exp"], config["x_re_exp"]),
            bits,
        ),
        saturate(
            ((a_real * x_imag) >> imag_exp)
            + ((a_imag * x_real) >> imag_exp)
            + shift_exponent(bu_imag, config["Bu_im_exp"], config["x_im_exp"]),
            bits,
        ),
    )


def run_mixer(block, config, values, exponent, conjugate_symmetric, record):
    """The state-space layer on one token: u, Bu, x, complex ReLU, C, doubling, D; returns y."""
    y_exp, u_exp = config["y_exp"], config["u_exp"]
    u = [change_exponent(value, exponent, u_exp) for value in values]
    bu = {
        part: multiply_matrix(
            block["B_" + part], u, u_exp + config[f"B_{part}_exp"], config[f"Bu_{part[:2]}_exp"]
        )
        for part in ("real", "imag")
    }
    states = [
        next_state(one, config, block["state_bits"])
        for one in zip(
            block["x_real"],
            block["x_imag"],
            block["A_real"],
            block["A_imag"],
            bu["real"],
            bu["imag"],
            strict=True,
        )
    ]
    rectified = [x if x[0] > 0 or (x[0] == 0 and x[1] > 0) else (0, 0) for x in states]
    products = []
    for index, part in enumerate(("real", "imag")):
        block["x_" + part], state = [x[index] for x in states], [x[index] for x in rectified]
        record(bu[part], "mixer/Bu_elements." + part)
        record(block["x_" + part], "mixer/xs." + part)
        record(state, "mixer/xs_relu." + part, "pre_C." + part)
        product_exp = config[f"x_{part[:2]}_exp"] + config[f"C_{part}_exp"]
        products.append(multiply_matrix(block["C_" + part], state, product_exp, y_exp))
    y = [saturate(real - imag, 16) for real, imag in zip(*products, strict=True)]
    record(y, "mixer/Cxs")
    if conjugate_symmetric:
        y = [2 * value for value in y]
        record(y, "mixer/2Cxs")
    direct = [
        lower_product(d * value, config["D_exp"] + u_exp, y_exp)
        for d, value in zip(block["D"], u, strict=True)
    ]
    y = [saturate(value + other, 16) for value, other in zip(y, direct, strict=True)]
    record(direct, "mixer/Du")
    record(y, "mixer/ys", "pre_GLU")
    return y


def run_gate(block, config, y, glu, record):
    """The gated linear unit on y (before ReLU): z and its exponent."""
    left, exponent = [max(value, 0) for value in y], config["mixer"]["y_exp"]
    if glu != "none":
        out = dense(block["out2"], config["out2"], left, exponent)
        gate = [sigmoid(value, config["out2"]["out_exp"]) for value in out]
        record(out, "out2/__call__")
        record(gate, "out2_sigmoid")
        if glu == "half2":
            left = y
        elif glu == "full":
            left = dense(block["out1"], config["out1"], left, exponent)
            exponent = config["out1"]["out_exp"]
            record(left, "out1/__call__")
        l_exp, r_exp, res_exp = (config["multgate"][key] for key in ("l_exp", "r_exp", "res_exp"))
        left = [
            lower_product(
                change_exponent(value, exponent, l_exp) * change_exponent(factor, 14, r_exp),
                l_exp + r_exp,
                res_exp,
            )
            for value, factor in zip(left, gate, strict=True)
        ]
        exponent = res_exp
    record(left, "post_GLU")
    return left, exponent


def mean_constants(sequence_length):
    """(p, r, q) of the MEAN neuron: 2**p / L = f * 2**k with 1 <= f < 2; r is f * 2**14 (nearest,
    ties to even; at most 2**15 - 1), q = 14 - k. k = p - ceil(log2 L) is 0 to -8: q is 14 to 22."""
    ceil_log2 = (sequence_length - 1).bit_length()
    p = max(0, ceil_log2 - 8)
    quotient, remainder = divmod(1 << (14 + ceil_log2), sequence_length)
    reciprocal = quotient + (2 * remainder + quotient % 2 > sequence_length)
    q = 14 - (p - ceil_log2)
    assert sequence_length >= 1
    assert q >= 0
    return p, min(reciprocal, (1 << 15) - 1), q


def evaluate(
    params,
    qconfig,
    exponents,
    tokens,
    *,
    glu="half1",
    conjugate_symmetric=True,
    readout="each_token",
    sequence_length=None,
    state_bits=None,
):
    """Every recorded tensor (tokens, features) of the network on one sequence from a zero state.

    `exponents`: the frozen exponents of the norm and residual tensors by recorded name.
    `state_bits`: the width of the state register by block index (24 where absent). `readout` 'mean'
    needs `sequence_length` and adds the tensor 'mean'; 'last' is evaluated as 'each_token' is.
    """
    assert glu in ("half1", "half2", "full", "none")
    assert readout in ("each_token", "last", "mean")
    recorded: dict[str, list] = {}

    def record(values, *names, prefix=""):
        for name in names:
            recorded.setdefault(prefix + name, []).append(list(values))

    blocks = [
        prepare_block(params["encoder"][f"layers_{index}"], (state_bits or {}).get(index, 24))
        for index in range(sum(name.startswith("layers_") for name in params["encoder"]))
    ]
    encoder, decoder = prepare_dense(params["encoder"]["encoder"]), prepare_dense(params["decoder"])
    encoder_config = qconfig["encoder"]["encoder"]
    sums = [0] * len(params["decoder"]["weight"])
    for token in tokens:
        token = [int(value) for value in token]
        record(token, "INPUT_int", "encoder/pre_encoder")
        h = dense(encoder, encoder_config, token, encoder_config["inp_exp"])
        exponent = encoder_config["out_exp"]
        record(h, "encoder/encoder/__call__", "encoder/encoder_output")
        h = [max(value, 0) for value in h]
        record(h, "encoder/encoder_output_relu")
        for index, block in enumerate(blocks):
            prefix, config = f"encoder/layers_{index}/", qconfig["encoder"][f"layers_{index}"]
            note = partial(record, prefix=prefix)
            note(h, "ssm_input")
            v, v_exp = run_norm(block["norm"], config["norm"], exponents, h, exponent, prefix, note)
            y = run_mixer(block, config["mixer"], v, v_exp, conjugate_symmetric, note)
            z, z_exp = run_gate(block, config, y, glu, note)
            result = exponents[prefix + "residadd"]
            h = [add_frozen(a, z_exp, skip, exponent, result) for a, skip in zip(z, h, strict=True)]
            note(h, "residadd")
            h, exponent = [max(value, 0) for value in h], result
            record(h, prefix + "output", f"encoder/layer_{index}_output")
        record(h, "encoder_output")
        if readout == "mean":
            p, reciprocal, q = mean_constants(sequence_length)
            sums = [
                saturate(total + (value >> p), 24) for total, value in zip(sums, h, strict=True)
            ]
            h = [saturate((total * reciprocal) >> q, 16) for total in sums]
            record(h, "mean")
        output = dense(decoder, qconfig["decoder"], h, exponent)
        record(output, "decoder/__call__", "output", "OUTPUT_int")
    return recorded


def near(rng, exponent, below, above, lowest=0, highest=15):
    """A random exponent from exponent - below to exponent + above, within lowest..highest."""
    return int(np.clip(exponent + rng.integers(-below, above + 1), lowest, highest))


def with_bits(exps):
    """A section of qconfig from {name: exponent}: 8 bits for weights, 16 for everything else."""
    weights = {"weight", "B_real", "B_imag", "C_real", "C_imag", "D"}
    signed = weights | {"A_real", "A_imag"} | ({"bias"} if "weight" in exps else set())
    return (
        {f"{name}_exp": int(exponent) for name, exponent in exps.items()}
        | {f"{name}_bits": 8 if name in weights else 16 for name in exps}
        | {f"{name}_signed": True for name in exps if name in signed}
    )


def random_int16(rng, size, log2):
    """int16 values of root mean square 2**log2, one in twenty of them anywhere in the range."""
    values = np.where(
        rng.random(size) < 0.05, rng.uniform(-(2**15), 2**15, size), rng.normal(0, 2.0**log2, size)
    )
    return np.clip(np.round(values), -(2**15), 2**15 - 1).astype(np.int32)


def random_int8(rng, shape, density, exponent, level, wanted, goal=12.5):
    """(int8 weights, their exponent in 0..7, result exponent near `wanted`) of an MM whose input
    has a root mean square of 2**level; the result has about 2**goal. `shape` is (in, out)."""
    shift = max(0, round(level + 6 + np.log2(max(shape[0] * density, 1)) / 2 - goal))
    own = int(np.clip(wanted + shift - exponent, 0, 7))
    smaller = int(np.clip(wanted - (exponent + own - shift), 0, min(shift, 4)))  # smaller weights
    limit = 127 >> smaller
    weights = rng.integers(-limit, limit + 1, shape) * (rng.random(shape) < density)
    return weights.astype(np.int32), own, max(0, exponent + own - shift + smaller)


def random_dense(rng, inputs, outputs, exponent, density, wanted, inp_exp=None, goal=12.5):
    """(params, qconfig) of a dense layer; inp_exp is on either side of the input's exponent."""
    inp_exp = near(rng, exponent, 3, 2) if inp_exp is None else inp_exp
    lowered = min(inp_exp, exponent)
    weight, weight_exp, out_exp = random_int8(
        rng, (inputs, outputs), density, lowered, 12.5 - (exponent - lowered), wanted, goal
    )
    bias_exp = near(rng, out_exp, 4, 3)
    bias = random_int16(rng, outputs, goal - 1 + bias_exp - out_exp)
    config = with_bits({"weight": weight_exp, "bias": bias_exp, "inp": inp_exp, "out": out_exp})
    return {"weight": weight, "bias": bias}, config


def random_norm(rng, width, exponent, steps, prefix, exponents):
    """(params, qconfig, exponent of v) of a norm; adds its tensors' exponents to `exponents`."""
    params, exps = {}, {}
    for parameter, name in steps:
        if parameter in ("mean", "bias"):
            exps[parameter] = near(rng, exponent, 3, 3)
            params[parameter] = random_int16(rng, width, 11.5 + exps[parameter] - exponent)
            exponent = near(rng, exponent, 1, 1)
        else:
            shift = int(rng.integers(13, 16))
            lowest, highest = max(0, shift - exponent), min(15, shift + 15 - exponent)
            exps[parameter] = near(rng, shift, 3, 3, lowest, highest)
            signs = rng.choice([-1, 1] if parameter == "scale" else [1], width)
            params[parameter] = (rng.integers(2**13, 2**15, width) * signs).astype(np.int32)
            exponent += exps[parameter] - shift
        exponents[f"{prefix}norm/{name}"] = exponent
    return params, with_bits(exps), exponent


def random_mixer(rng, width, states, exponent, density, wanted):
    """(params, qconfig) of a stable state-space layer whose y has an exponent near `wanted`."""
    params, exps = {}, {"u": near(rng, exponent, 2, 2)}
    exps["A_real"], other = rng.integers(12, 16, 2)
    exps["A_imag"] = exps["A_real"] if rng.random() < 0.5 else other
    # |A| < 2**(smaller exponent): the state shrinks even where the two exponents differ
    a = rng.uniform(0.3, 0.97, states) * np.exp(1j * rng.uniform(-np.pi, np.pi, states))
    a *= 2.0 ** min(exps["A_real"], exps["A_imag"])
    gap = int(rng.choice([-4, -3, -2, -1, 0, 1, 2, 3, 4, 6]))  # from the exponent of Bu to x's
    for part in ("real", "imag"):
        params["A_" + part] = np.trunc(getattr(a, part)).astype(np.int32)
        weight, exps["B_" + part], exps[f"Bu_{part[:2]}"] = random_int8(
            rng, (width, states), density, exps["u"], 12.5, near(rng, wanted - gap, 1, 3)
        )
        params["B_" + part] = weight.T.copy()
        exps["x_" + part[:2]] = near(rng, exps[f"Bu_{part[:2]}"] + gap, 1, 1)
    level = 13.5 + max(exps["x_re"] - exps["Bu_re"], exps["x_im"] - exps["Bu_im"])
    exps["y"] = exps["u"] + 7
    for part in ("real", "imag"):
        weight, exps["C_" + part], reached = random_int8(
            rng, (states, width), density, exps["x_" + part[:2]], level, wanted, 11
        )
        params["C_" + part], exps["y"] = weight.T.copy(), min(exps["y"], reached)
    exps["D"] = int(np.clip(exps["y"] + 6 - exps["u"], 0, 7))
    limit = 127 >> int(np.clip(6 - (exps["u"] + exps["D"] - exps["y"]), 0, 4))
    params["D"] = rng.integers(-limit, limit + 1, width).astype(np.int32)
    return params, with_bits(exps)


def random_model(
    rng, *, features_in, width, states, blocks, features_out, glu, norm_scale_bias, density
):
    """(params, qconfig, exponents) of a random network of int8 weights and int16 biases.

    No product's shift e1 + e2 - eo is negative; apart from that the exponents vary widely and from
    block to block. Made for random tokens with a root mean square of about 2**12.
    """
    params: dict = {"encoder": {}}
    qconfig: dict = {"encoder": {}}
    exponents: dict[str, int] = {}
    inp_exp, wanted = int(rng.integers(8, 16)), int(rng.integers(7, 15))
    params["encoder"]["encoder"], config = random_dense(
        rng, features_in, width, inp_exp, density, wanted, inp_exp
    )
    qconfig["encoder"]["encoder"], exponent = config, config["out_exp"]
    for index in range(blocks):
        prefix, layer, config = f"encoder/layers_{index}/", {}, {}
        layer["norm"], config["norm"], v_exp = random_norm(
            rng, width, exponent, NORM_STEPS[: 4 if norm_scale_bias else 2], prefix, exponents
        )
        layer["mixer"], config["mixer"] = random_mixer(
            rng, width, states, v_exp, density, near(rng, exponent, 2, 3, 5)
        )
        z_exp = left_exp = y_exp = config["mixer"]["y_exp"]
        if glu != "none":
            gate_exp = int(rng.integers(3, 13))  # the gate's input is a few units, whatever this is
            layer["out2"], config["out2"] = random_dense(
                rng, width, width, y_exp, density, gate_exp, goal=min(gate_exp + 1.5, 13)
            )
            config["sigmoid"] = {
                "x_exp": min(config["out2"]["out_exp"], 6),
                "y_exp": 14,
                "x_extra": 3,
                "n_exp": 3,
            }
            if glu == "full":
                layer["out1"], config["out1"] = random_dense(
                    rng, width, width, y_exp, density, near(rng, exponent, 2, 2)
                )
                left_exp = config["out1"]["out_exp"]
            l_exp, r_exp = near(rng, left_exp, 2, 2), int(rng.integers(11, 16))
            z_exp = near(rng, left_exp, 0, 2)
            config["multgate"] = with_bits({"l": l_exp, "r": r_exp, "res": z_exp})
        exponents[prefix + "residadd"] = exponent = near(rng, max(z_exp, exponent), 3, 0, 4)
        params["encoder"][f"layers_{index}"], qconfig["encoder"][f"layers_{index}"] = layer, config
    params["decoder"], qconfig["decoder"] = random_dense(
        rng, width, features_out, exponent, density, int(rng.integers(6, 15))
    )
    return params, qconfig, exponents
