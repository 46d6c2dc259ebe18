"""Compiles a network's generated C as one program and runs its groups on given accumulators."""

import subprocess
from pathlib import Path

import numpy as np

from s5_to_loihi.backends.c_source import identifier, model_name, write_source
from s5_to_loihi.network.network import Network, NeuronGroup
from s5_to_loihi.network.programs import sent_messages

FLAGS = (
    "-std=c99", "-Wall", "-Wextra", "-Werror", "-O1",
    "-fsanitize=undefined", "-fno-sanitize-recover=all",
)  # fmt: skip
RESET_INTERVAL = 1 << 16

#: What Lava's runtime gives an embedded process; here ports are standard input and output.
_RUNTIME = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
typedef struct { int time_step; } runState;
typedef struct { uint32_t size; } Port;
static void recv_vec_dense(runState *rs, Port *port, int32_t *data)
{
    (void)rs;
    if (fread(data, sizeof *data, port->size, stdin) != port->size) exit(2);
}
static void send_vec_dense(runState *rs, Port *port, int32_t *data)
{
    (void)rs;
    if (fwrite(data, sizeof *data, port->size, stdout) != port->size) exit(3);
}
"""


def build(network: Network, folder: Path) -> Path:
    """Write and compile the C of all groups; one call of gcc."""
    parts, runs = [_RUNTIME], []
    for index, group in enumerate(network.groups):
        source = folder / f"{identifier(group.name)}.c"
        source.write_text(write_source(network, group))
        names, lines = _predefined(network, group, index)
        (folder / f"predefs_{model_name(group)}.h").write_text("\n".join(lines) + "\n")
        parts += [f"#define {name} {name}_of_{index}" for name in names]
        parts += [f'#include "{source.name}"', *(f"#undef {name}" for name in names)]
        runs.append(_run(group, index))
    parts += ["int main(void)", "{", "    runState rs;", "    uint32_t rows[2];", *runs]
    parts += ["    return 0;", "}"]
    (folder / "main.c").write_text("\n".join(parts) + "\n")
    program = folder / "network"
    command = ["gcc", *FLAGS, "-o", str(program), str(folder / "main.c")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return program


def _predefined(network: Network, group: NeuronGroup, index: int):
    ports = (*group.kind.ports, *sent_messages(network, group))
    lines = [f"static Port {name} = {{{group.size}}};" for name in ports]
    lines += [f"static int32_t {name}[{group.size}];" for name in group.kind.state]
    if group.kind.state:
        lines.append(f"static int32_t reset_interval[1] = {{{RESET_INTERVAL}}};")
    variables = (*group.kind.state, "reset_interval") if group.kind.state else ()
    return ("spk_guard", "run_spk", *ports, *variables), lines


def _run(group: NeuronGroup, index: int) -> str:
    """Run a group on rows of accumulators; write its messages and then its registers, each row."""
    registers = "".join(
        f"\n        fwrite({name}_of_{index}, sizeof(int32_t), {group.size}, stdout);"
        for name in group.kind.state
    )
    return f"""
    if (fread(rows, sizeof rows[0], 1, stdin) != 1) return 1;
    for (rs.time_step = 1; rs.time_step <= (int)rows[0]; rs.time_step++) {{
        if (!spk_guard_of_{index}(&rs)) return 1;
        run_spk_of_{index}(&rs);{registers}
    }}"""


def run(program: Path, network: Network, accumulators: dict[str, np.ndarray]):
    """Run all groups on accumulators (rows, ports, neurons), from timestep 0 on.

    Returns ``group.value`` -> (rows, neurons) of registers and sent messages.
    """
    rows = {name: len(array) for name, array in accumulators.items()}
    stream = b"".join(
        np.int32(rows[group.name]).tobytes()
        + np.ascontiguousarray(accumulators[group.name], dtype=np.int32).tobytes()
        for group in network.groups
    )
    finished = subprocess.run([str(program)], input=stream, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr.decode()
    data, first, values = np.frombuffer(finished.stdout, dtype=np.int32), 0, {}
    for group in network.groups:
        names = (*sent_messages(network, group), *group.kind.state)
        count = rows[group.name] * len(names) * group.size
        array = data[first : first + count].reshape(rows[group.name], len(names), group.size)
        values |= {f"{group.name}.{name}": array[:, place] for place, name in enumerate(names)}
        first += count
    assert first == len(data)
    return values
