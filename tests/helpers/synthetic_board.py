"""A board that is made up: hidden constants, noise, and if wanted a term that no model has."""

import numpy as np

from s5_to_loihi.backends.measured import MeasuredProfile, Power, StepTimes

#: Nanoseconds, gigabytes a second, picojoules and watts that nobody tells.
HIDDEN = {
    "update_time": 3.1, "instruction_time": 1.1, "synop_time": 1.4, "memory_word_time": 1.9,
    "link_bandwidth": 9.0, "barrier_time": 2300.0, "barrier_time_per_doubling": 400.0,
    "synop_energy": 7.0, "update_energy": 25.0, "instruction_energy": 4.4, "message_energy": 55.0,
    "hop_energy": 5.0, "core_power": 0.0013, "static_power": 0.21,
}  # fmt: skip
ENERGIES = {"synops": "synop_energy", "updates": "update_energy", "messages": "message_energy",
            "instructions": "instruction_energy", "hops": "hop_energy"}  # fmt: skip
NOISE = 0.01


def microseconds(demand, added=False, hidden=HIDDEN) -> float:
    """A mean timestep: the slowest core, the heaviest link or the barrier, or the barrier after."""
    barrier = hidden["barrier_time"]
    barrier += hidden["barrier_time_per_doubling"] * np.log2(demand.chips)
    idle = hidden["update_time"] + 2 * hidden["instruction_time"]
    steps = []
    for step, rows in enumerate(demand.updates):
        costs = (hidden["update_time"], hidden["instruction_time"], idle)
        terms = [
            np.full(demand.synops.shape[1], (rows @ costs).max()),
            demand.synops[step] * hidden["synop_time"],
            demand.words[step] * hidden["memory_word_time"],
            np.maximum(demand.messages[step], demand.hops[step]) * 8 / hidden["link_bandwidth"],
        ]
        work = np.max(terms, axis=0)
        steps.append(work + barrier if added else np.maximum(work, barrier))
    return float(np.mean(steps)) / 1e3


def run_of(name, demand, digest="", noise=NOISE, added=False, seed=0):
    """What a run on it writes."""
    rng = np.random.default_rng([seed, *name.encode()])
    time = microseconds(demand, added) * np.exp(noise * rng.normal())
    picojoules = sum(getattr(demand.operations, done) * HIDDEN[e] for done, e in ENERGIES.items())
    dynamic = picojoules * 1e-6 / time + HIDDEN["core_power"] * demand.cores
    dynamic *= np.exp(noise * rng.normal())
    static = HIDDEN["static_power"] * demand.chips
    return MeasuredProfile(
        target="board", network=name, bundle_digest=digest, mode="pipelined", tokens=64,
        timesteps=65, wall_seconds=1.0, environment={},
        time=StepTimes(float(time), None, None, None, 1000),
        power=Power("neurocore rails", static + dynamic, static, {}, 1000),
    )  # fmt: skip
