"""The listing of a neuron program: all that someone needs to know who writes it in microcode.

The notation is our own: the traced steps, each with the interval that its result lies in. Nothing
of it is, or imitates, an instruction set of Intel's. Test vectors of single neurons come with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from s5_to_loihi.fixed_point import limits
from s5_to_loihi.network import gating
from s5_to_loihi.network.network import INPUT, TOKEN, Endpoint, Network, NeuronGroup
from s5_to_loihi.network.neurons.constants import array_constants
from s5_to_loihi.network.programs import NeuronProgram
from s5_to_loihi.network.shortening import MULTIPLY_SHIFT
from s5_to_loihi.network.tracing import SOURCES, Step
from s5_to_loihi.simulators.interpreter import Interpreter, update_sequence

#: Recorded tokens that neurons are looked for in.
SEARCHED = 256
#: Tokens of a test vector.
TOKENS = 8

RULES = """\
Rules
  Integers are signed. 'a >> b' rounds toward minus infinity. 'a > b' and 'a == b' are 1 or 0;
  '&' and '|' are bitwise. 'select a b c' is b if a is not 0, else c. 'table t a' is entry a of
  table t, counted from 0. 'mulshr a b c' is (a * b) >> c; no bit of the product is lost. A
  message of 0 is not sent.
  {time}
"""
#: When neurons update and registers count as zero, pipelined.
EVERY_TIMESTEP = """\
Every neuron updates in every timestep. In timesteps t with
  t mod reset_interval == reset_offset, t counted from 0, the registers count as 0 before the
  update; reset_offset is the group's phase, with the input latency of the run added to it,
  modulo reset_interval."""
#: The same of programs with a gate, in fall-through.
WITH_A_MARKER = f"""\
The program is run in every timestep. '{gating.LEAVE} a' ends it if a is 0: registers stay as they
  are, and nothing is sent. {gating.MARKER} is {gating.NOTHING} where no token arrives,
  {gating.TOKEN} with a token, {gating.FIRST} with the first one of a sequence. No timestep is
  counted."""


def is_gated(program: NeuronProgram) -> bool:
    """Tell whether a program has a gate in front (``network/gating.py``)."""
    return any(step.operation == gating.LEAVE for step in program.steps)


def rules(program: NeuronProgram) -> str:
    """Return what the notation means, and when a neuron runs the program."""
    time = WITH_A_MARKER if is_gated(program) else EVERY_TIMESTEP
    return RULES.format(time=time).rstrip()


@dataclass(frozen=True)
class Row:
    """One update of a neuron: integers by name."""

    accumulators: dict[str, int]
    before: dict[str, int]
    after: dict[str, int]
    messages: dict[str, int]


@dataclass(frozen=True)
class NeuronVector:
    """Updates of one neuron, one after another.

    Attributes:
        group, neuron: which neuron.
        parameters: its constants.
        first_token: number of the token of the first row.
        rows: one a token.
    """

    group: str
    neuron: int
    parameters: dict[str, int]
    first_token: int
    rows: tuple[Row, ...]


def recorded_tokens(network: Network, tokens: np.ndarray | None) -> tuple[np.ndarray, str]:
    """Return tokens (tokens, 1, features) to make vectors with, and where they come from.

    Recorded ones if there are any (the first sequence), else random ones of the input format.
    """
    if tokens is not None:
        return tokens[:SEARCHED, :1], "recorded tokens of the bundle"
    low, high = limits(network.input_format.bits)
    shape = (SEARCHED, 1, network.input_size)
    return np.random.default_rng(0).integers(low, high, shape, endpoint=True), "random tokens"


def neuron_vectors(
    network: Network, program: NeuronProgram, tokens: np.ndarray, count: int = TOKENS
) -> tuple[NeuronVector, ...]:
    """Return a vector of each group of a program: of its most active neuron.

    Args:
        network: that the program is of.
        program: of the network, with a gate or without. With one, two rows follow: one without a
            token, and one that begins a sequence.
        tokens: (tokens, 1, features) from a zero state on.
        count: updates in a row; those in which the neuron sends most.
    """
    interpreter = Interpreter(network)
    values = interpreter.evaluate(tokens, keep=None).values
    sent = {Endpoint(*name.rsplit(".", 1)): array for name, array in values.items()}
    sent[Endpoint(INPUT, TOKEN)] = tokens
    ports = {step.immediate for step in _sources(program, "accumulator")}
    vectors = []
    for binding in program.bindings:
        group = binding.group
        accumulated = interpreter.accumulate(group, sent)
        messages = {name: values[f"{group.name}.{name}"][:, 0] for name in program.messages}
        after = {name: values[f"{group.name}.{name}"][:, 0] for name in program.registers}
        active = sum((array != 0 for array in messages.values()), np.zeros((len(tokens), 1), int))
        neuron, first = _busiest(np.broadcast_to(active, (len(tokens), group.size)), count)
        rows = []
        for token in range(first, min(first + count, len(tokens))):
            before = {name: int(a[token - 1, neuron]) if token else 0 for name, a in after.items()}
            rows.append(
                Row(
                    accumulators={
                        port: int(array[token, 0, neuron])
                        for port, array in zip(group.kind.ports, accumulated, strict=True)
                        if port in ports
                    },
                    before=before,
                    after={name: int(array[token, neuron]) for name, array in after.items()},
                    messages={name: int(array[token, neuron]) for name, array in messages.items()},
                )
            )
        if is_gated(program):
            rows = _marked(group, neuron, rows, first)
        constants = {name: int(values[neuron]) for name, values in binding.parameters.items()}
        vectors.append(NeuronVector(group.name, neuron, constants, first, tuple(rows)))
    return tuple(vectors)


def _marked(group: NeuronGroup, neuron: int, rows: list[Row], first: int) -> list[Row]:
    """Return rows with their markers, one without a token, and one that begins a sequence."""
    markers = [
        gating.FIRST if token == 0 else gating.TOKEN for token in range(first, first + len(rows))
    ]
    marked = [
        replace(row, accumulators=row.accumulators | {gating.MARKER: marker})
        for row, marker in zip(rows, markers, strict=True)
    ]
    last = rows[-1]
    waiting = Row(
        dict.fromkeys(last.accumulators, 0) | {gating.MARKER: gating.NOTHING},
        last.after,
        last.after,
        dict.fromkeys(last.messages, 0),
    )
    sums = tuple(
        np.full((1, 1, group.size), last.accumulators.get(port, 0)) for port in group.kind.ports
    )
    zero = tuple(np.zeros((1, group.size), dtype=np.int64) for _ in group.kind.state)
    _, found = update_sequence(group, sums, zero)
    shape = (1, 1, group.size)
    at = {
        name: int(np.broadcast_to(value, shape)[0, 0, neuron])
        for name, value in zip(group.kind.values, found, strict=True)
    }
    begun = Row(
        last.accumulators | {gating.MARKER: gating.FIRST},
        last.after,
        {name: at[name] for name in last.after},
        {name: at[name] for name in last.messages},
    )
    return [*marked, waiting, begun]


def _busiest(active: np.ndarray, count: int) -> tuple[int, int]:
    """Return the neuron that sends most, and where it sends most in so many tokens."""
    neuron = int(active.sum(axis=0).argmax())
    sums = np.convolve(active[:, neuron], np.ones(min(count, len(active)), int), mode="valid")
    return neuron, int(sums.argmax())


# --- for programs --------------------------------------------------------------------------------


def to_json(
    network: Network, program: NeuronProgram, vectors: tuple[NeuronVector, ...], origin: str
) -> dict:
    """Return a listing as nested values."""
    return {
        "program": program.name,
        "kind": program.kind.name,
        "title": program.kind.title,
        "instructions": program.instructions,
        "traced_instructions": program.traced_instructions,
        "ports": [
            {"name": step.immediate, **_width(step)} for step in _sources(program, "accumulator")
        ],
        "registers": [
            {"name": name, "bits": _value_bits(program, name)} for name in program.registers
        ],
        "parameters": [
            {"name": name, "bits": bits, **_width(step)}
            for name, bits, step in _parameters(program)
        ],
        "messages": [
            {"name": name, "bits": _value_bits(program, name)} for name in program.messages
        ],
        "steps": [
            {
                "operation": step.operation,
                "operands": list(step.operands),
                "immediate": step.immediate,
                **_width(step),
            }
            for step in program.steps
        ],
        "results": {"registers": program.registers, "messages": program.messages},
        "groups": [
            {
                "name": binding.group.name,
                "neurons": binding.group.size,
                "phase": binding.group.phase,
                "constants": binding.constants,
                "tables": {name: list(table) for name, table in binding.tables.items()},
            }
            for binding in program.bindings
        ],
        "vectors": [
            {
                "group": vector.group,
                "neuron": vector.neuron,
                "parameters": vector.parameters,
                "first_token": vector.first_token,
                "rows": [vars(row) for row in vector.rows],
            }
            for vector in vectors
        ],
        "vectors_from": origin,
        "rules": rules(program),
        "network": network.name,
    }


def _width(step: Step) -> dict:
    return {"lowest": step.lowest, "highest": step.highest, "interval_bits": step.bits}


def _sources(program: NeuronProgram, operation: str) -> list[Step]:
    return [step for step in program.steps if step.operation == operation]


def _value_bits(program: NeuronProgram, name: str) -> int:
    return max(binding.group.formats[name].bits for binding in program.bindings)


def _parameters(program: NeuronProgram) -> Iterator[tuple[str, int, Step]]:
    """Yield name, width of the format, and step of the per-neuron constants that are read."""
    for step in _sources(program, "parameter"):
        declared = (
            its_format.bits
            for binding in program.bindings
            for name, _, its_format in array_constants(binding.group.constants)
            if name == step.name
        )
        yield step.name, max(declared, default=step.bits), step


# --- for people ----------------------------------------------------------------------------------


def to_text(
    network: Network, program: NeuronProgram, vectors: tuple[NeuronVector, ...], origin: str
) -> str:
    """Return a listing as text."""
    groups = [binding.group for binding in program.bindings]
    counted = ", ".join(f"{group.name} ({group.size} neurons)" for group in groups)
    work = sum(step.operation not in (*SOURCES, "constant") for step in program.steps)
    lines = [
        f"Program {program.name}: {program.kind.title}",
        f"Network {network.name}, groups {counted}",
        f"{len(program.steps)} steps, of which {work} compute; counted as {program.instructions}"
        f" instructions in profiles, {program.traced_instructions} before it was shortened",
        "",
        rules(program),
        "",
        "Ports (sums of synapses, for every input)",
        *(_source_line(step) for step in _sources(program, "accumulator")),
        "Registers",
        *(f"  {name:22} {_value_bits(program, name)} bits" for name in program.registers),
        "Constants of each neuron",
        *(
            f"  {name:22} {bits} bits, here {step.lowest} .. {step.highest}"
            for name, bits, step in _parameters(program)
        ),
        "Messages",
        *(f"  {name:22} {_value_bits(program, name)} bits" for name in program.messages),
        "Constants and tables of each group",
        *(line for binding in program.bindings for line in _binding_lines(binding)),
        "",
        "Steps (result, operation, interval, bits)",
        *(_step_line(index, step) for index, step in enumerate(program.steps)),
        "Results",
        *(f"  register {name:13} <- v{index}" for name, index in program.registers.items()),
        *(f"  message {name:14} <- v{index}" for name, index in program.messages.items()),
        "",
        f"Test vectors ({origin})",
        *(line for vector in vectors for line in _vector_lines(vector)),
    ]
    return "\n".join(lines) + "\n"


def _source_line(step: Step) -> str:
    return f"  {step.immediate:22} {step.lowest} .. {step.highest}, {step.bits} bits"


def _binding_lines(binding) -> list[str]:
    constants = ", ".join(f"{name} = {value}" for name, value in binding.constants.items())
    lines = [f"  {binding.group.name}, phase {binding.group.phase}: {constants or 'none'}"]
    for name, table in binding.tables.items():
        lines.append(f"    {name}, {len(table)} entries: {', '.join(map(str, table))}")
    return lines


def _step_line(index: int, step: Step) -> str:
    operands = [f"v{operand}" for operand in step.operands]
    if step.operation in (*SOURCES, "constant"):
        text = f"{step.operation} {step.immediate}"
    elif step.operation == "lookup":
        text = f"table {step.immediate} {operands[0]}"
    elif step.operation in ("min", "max", "abs", "select", MULTIPLY_SHIFT, gating.LEAVE):
        text = f"{step.operation} {' '.join(operands)}"
    else:
        text = f"{operands[0]} {step.operation} {operands[1]}"
    return f"  v{index:<4} {text:32} {step.lowest} .. {step.highest}, {step.bits}"


def _vector_lines(vector: NeuronVector) -> list[str]:
    lines = [f"  {vector.group}, neuron {vector.neuron}: {_named(vector.parameters)}"]
    for number, row in enumerate(vector.rows, start=vector.first_token):
        parts = [f"in {_named(row.accumulators)}"]
        if row.before:
            parts += [f"before {_named(row.before)}", f"after {_named(row.after)}"]
        parts.append(f"sends {_named(row.messages)}")
        lines.append(f"    token {number}: {'; '.join(parts)}")
    return lines


def _named(values: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "nothing"
