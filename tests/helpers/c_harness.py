"""Compiles a network's generated C and runs it: group by group, or token by token."""

import subprocess
from pathlib import Path

import numpy as np

from s5_to_loihi.lava_runtime.c_source import MODEL, identifier, write_source
from s5_to_loihi.network.network import Network, NeuronGroup

FLAGS = (
    "-std=c99", "-Wall", "-Wextra", "-Werror", "-O1",
    "-fsanitize=undefined", "-fno-sanitize-recover=all",
)  # fmt: skip

#: What Lava's runtime gives an embedded process; here ports are standard input and output.
RUNTIME = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
typedef struct {{ int time_step; }} runState;
typedef struct {{ uint32_t size; }} Port;
static Port inp = {{{inputs}}}, out = {{{outputs}}};
static void get(int32_t *data, uint32_t size)
{{
    if (fread(data, sizeof *data, size, stdin) != size) exit(2);
}}
static void put(const int32_t *data, uint32_t size)
{{
    if (fwrite(data, sizeof *data, size, stdout) != size) exit(3);
}}
static void recv_vec_dense(runState *rs, Port *port, int32_t *data)
{{
    (void)rs;
    get(data, port->size);
}}
static void send_vec_dense(runState *rs, Port *port, int32_t *data)
{{
    (void)rs;
    put(data, port->size);
}}
"""


def build(network: Network, reset_interval: int, folder: Path, gate: bool = False) -> Path:
    """Write and compile the C of a network; one call of gcc."""
    (folder / "network.c").write_text(write_source(network, reset_interval, gate=gate))
    runtime = RUNTIME.format(inputs=network.input_size + gate, outputs=network.output_size)
    (folder / f"predefs_{MODEL}.h").write_text(runtime)
    groups = [_rows_of_accumulators(network, group) for group in network.groups]
    (folder / "main.c").write_text(
        "\n".join(
            [
                '#include "network.c"',
                "int main(void)",
                "{",
                "    runState rs;",
                "    int32_t rows;",
                *([f"    input_token[{network.input_size}] = 1;"] if gate else []),
                *groups,
                "    get(&rows, 1);",
                "    for (rs.time_step = 1; rs.time_step <= rows; rs.time_step++) {",
                "        if (!spk_guard(&rs)) return 1;",
                "        run_spk(&rs);",
                *(f"        {line}" for group in network.groups for line in _puts(network, group)),
                "    }",
                "    return 0;",
                "}",
                "",
            ]
        )
    )
    program = folder / "network"
    command = ["gcc", *FLAGS, "-o", str(program), str(folder / "main.c")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return program


def _puts(network: Network, group: NeuronGroup) -> list[str]:
    return [
        f"put({identifier(group.name)}_{name}, {group.size});"
        for name in (*network.sent_by(group), *group.kind.state)
    ]


def _rows_of_accumulators(network: Network, group: NeuronGroup) -> str:
    """Update a group on rows of accumulators from zero registers; registers are zero again."""
    prefix = identifier(group.name)
    gets = (f"        get({prefix}_in_{port}, {group.size});" for port in group.kind.ports)
    zeros = (
        f"    for (int i = 0; i < {group.size}; i++) {prefix}_{name}[i] = 0;"
        for name in group.kind.state
    )
    return "\n".join(
        [
            "    get(&rows, 1);",
            "    while (rows--) {",
            *gets,
            f"        {prefix}_neurons();",
            *(f"        {line}" for line in _puts(network, group)),
            "    }",
            *zeros,
        ]
    )


def run(program: Path, network: Network, accumulators: dict[str, np.ndarray], tokens: np.ndarray):
    """Run every group on accumulators (rows, ports, neurons), then the network on tokens.

    Returns two mappings ``group.value`` -> (rows or tokens, neurons) of registers and sent
    messages, and the outputs (tokens, features).
    """
    stream = b"".join(
        np.int32(len(accumulators[group.name])).tobytes()
        + np.ascontiguousarray(accumulators[group.name], dtype=np.int32).tobytes()
        for group in network.groups
    )
    stream += np.int32(len(tokens)).tobytes() + np.ascontiguousarray(tokens, np.int32).tobytes()
    finished = subprocess.run([str(program)], input=stream, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr.decode()
    data, first = np.frombuffer(finished.stdout, dtype=np.int32), 0
    alone = {}
    for group in network.groups:
        names = (*network.sent_by(group), *group.kind.state)
        rows = len(accumulators[group.name])
        count = rows * len(names) * group.size
        array = data[first : first + count].reshape(rows, len(names), group.size)
        alone |= {f"{group.name}.{name}": array[:, place] for place, name in enumerate(names)}
        first += count
    rows = data[first:].reshape(len(tokens), -1)
    together, column = {}, network.output_size
    for group in network.groups:
        for name in (*network.sent_by(group), *group.kind.state):
            together[f"{group.name}.{name}"] = rows[:, column : column + group.size]
            column += group.size
    assert column == rows.shape[1]
    return alone, together, rows[:, : network.output_size]
