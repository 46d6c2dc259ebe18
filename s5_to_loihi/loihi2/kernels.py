"""The loops over synapses and messages, compiled. Everything is an array or a number here.

Rules that Python shares with the loops stand here too: numba keeps machine code until the file of
a loop changes, whatever becomes of others.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from s5_to_loihi.loihi2.resources import CORE_TERMS, Resource, Term
from s5_to_loihi.machine_code import compiled

_TERMS, _RESOURCES = len(CORE_TERMS), len(Resource)


class Rows(NamedTuple):
    """How a core stores the synapses of an input axon; see ``memory.rows_of``."""

    header_bits: int
    index_bits: int
    word_bits: int
    dense: bool


class Arrays(NamedTuple):
    """A network, laid out.

    Neurons are numbered group by group, synapses neuron by neuron. The synapses that a neuron
    has from one edge are a segment. An axon is a source neuron of an edge; axons are numbered
    edge by edge. Messages are numbered by sender: the neurons of each sent message in turn.

    Attributes:
        segments: (neurons + 1,) the first segment of each neuron.
        edges: (segments,) edge.
        firsts: (segments + 1,) first synapse.
        lows, highs: (segments,) extremes of its weights, 0 included.
        axons: (synapses,) the axon that each synapse is reached by.
        edge_of_axon, message_of_axon: (axons,).
        rates: (messages,) a timestep.
        edge_bits: (edges,) bits of its weights.
    """

    segments: np.ndarray
    edges: np.ndarray
    firsts: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    axons: np.ndarray
    edge_of_axon: np.ndarray
    message_of_axon: np.ndarray
    rates: np.ndarray
    edge_bits: np.ndarray


class Problem(NamedTuple):
    """What a search for a partition has to go by; rows are counted as if none were dense.

    Attributes:
        load: the network.
        rows: how synapses are stored.
        group_of: (neurons,).
        own_words: (neurons, 3) words in Neurons, AxonMap and AxonMem, as far as they are known
            before all is placed.
        update_time: (neurons,) nanoseconds of an update.
        nanoseconds: (4,) of one of each of ``CORE_TERMS``; of updates none, they have their own.
        limits: (7,) words of a core, by ``Resource``.
    """

    load: Arrays
    rows: Rows
    group_of: np.ndarray
    own_words: np.ndarray
    update_time: np.ndarray
    nanoseconds: np.ndarray
    limits: np.ndarray


class State(NamedTuple):
    """What cores hold while a partition is searched.

    Attributes:
        synapses: (cores, axons).
        present: (cores, groups) neurons.
        use: (cores, 7) words, by ``Resource``.
        spent: (cores, 4) nanoseconds, by ``CORE_TERMS``.
        need, time: (7,), (4,) what one neuron adds: scratch.
    """

    synapses: np.ndarray
    present: np.ndarray
    use: np.ndarray
    spent: np.ndarray
    need: np.ndarray
    time: np.ndarray


# --- rules that Python computes by as well -------------------------------------------------------


@register_jitable
def weight_bits(lowest, highest):
    """Return the bits a weight between two integers needs; a sign bit only if one is negative."""
    positive, negative = 0, 0
    while highest >> positive > 0:
        positive += 1
    if lowest >= 0:
        return max(1, positive)
    while (-lowest - 1) >> negative > 0:
        negative += 1
    return 1 + max(positive, negative)


@register_jitable
def packed_words(bits, rows):
    """Return the words of a row whose synapses take so many bits in all."""
    return (rows.header_bits + bits + rows.word_bits - 1) // rows.word_bits


@register_jitable
def row_words(count, bits, targets, rows):
    """Return the synapse words of one input axon on one core: the cheapest encoding.

    An indexed row stores a header, and each synapse with its index:
    ``ceil((header + count * (bits + index)) / word)``. A dense row, where the chip's facts allow
    it, stores a weight for every neuron of the group on the core, without indices.

    Args:
        count: synapses of the axon on the core; numbers or arrays, as all but ``rows``.
        bits: of a weight.
        targets: neurons of the group on the core.
        rows: how they are stored.
    """
    words = packed_words(count * (bits + rows.index_bits), rows)
    if rows.dense:
        words = np.minimum(words, packed_words(targets * bits, rows))
    return words * (count > 0)


@register_jitable
def total_words(words):
    """Return the words in all, of words by ``Resource`` (the first axis): groups are no words."""
    own = words[Resource.NEURONS] + words[Resource.AXON_MAP] + words[Resource.AXON_MEMORY]
    return words[Resource.AXON_IN] + words[Resource.SYNAPSES] + own


# --- counting ------------------------------------------------------------------------------------


@compiled()
def copy_rows(pointers, indices, data, first_axon, starts, axons, lowest, highest):
    """Copy the rows of an edge to where they belong among all synapses; note their extremes."""
    for row in range(len(pointers) - 1):
        place = starts[row]
        low, high = 0, 0
        for index in range(pointers[row], pointers[row + 1]):
            axons[place] = first_axon + indices[index]
            place += 1
            low = min(low, data[index])
            high = max(high, data[index])
        lowest[row], highest[row] = low, high


@compiled()
def smooth(firsts, ends, axons, first_axon, sums, counts, position):
    """Replace each neuron's position by the mean of its sources', theirs by their targets'.

    Sources with one target share nothing: they are left out.
    """
    sums[:], counts[:] = 0, 0
    for neuron in range(len(firsts)):
        for index in range(firsts[neuron], ends[neuron]):
            axon = axons[index] - first_axon
            sums[axon] += position[neuron]
            counts[axon] += 1
    for neuron in range(len(firsts)):
        total, number = 0.0, 0
        for index in range(firsts[neuron], ends[neuron]):
            axon = axons[index] - first_axon
            if counts[axon] > 1:
                total += sums[axon] / counts[axon]
                number += 1
        position[neuron] = total / number if number else 0.0


@compiled()
def synapses_of(neuron, load):
    """Return the numbers of a neuron's synapses."""
    segments, firsts = load.segments, load.firsts
    return range(firsts[segments[neuron]], firsts[segments[neuron + 1]])


@compiled()
def reach(neurons, load, count, touched, low, high):
    """Count the synapses of each axon at some neurons, and note the extremes of each edge's.

    Args:
        neurons: of one group on one core.
        load: the network.
        count: (axons,) zeros; counted here.
        touched: (axons,) the axons with a synapse are put in front.
        low, high: (edges,) extremes, 0 included.

    Returns:
        How many axons there are.
    """
    found = 0
    for neuron in neurons:
        for segment in range(load.segments[neuron], load.segments[neuron + 1]):
            edge = load.edges[segment]
            low[edge] = min(low[edge], load.lows[segment])
            high[edge] = max(high[edge], load.highs[segment])
            for index in range(load.firsts[segment], load.firsts[segment + 1]):
                axon = load.axons[index]
                if count[axon] == 0:
                    touched[found] = axon
                    found += 1
                count[axon] += 1
    return found


@compiled()
def deliver(order, first_of_part, load, rows):
    """Return a row for each input axon of each part: part, axon, synapses, words.

    Arguments are as in ``measure``.
    """
    parts, edge_count = len(first_of_part) - 1, len(load.edge_bits)
    count = np.zeros(len(load.edge_of_axon), dtype=np.int32)
    touched = np.empty(len(load.edge_of_axon), dtype=np.int32)
    low, high = np.zeros(edge_count, dtype=np.int64), np.zeros(edge_count, dtype=np.int64)
    table = np.empty((4, len(load.axons)), dtype=np.int32)
    row = 0
    for part in range(parts):
        neurons = order[first_of_part[part] : first_of_part[part + 1]]
        found = reach(neurons, load, count, touched, low, high)
        for axon in touched[:found]:
            edge = load.edge_of_axon[axon]
            bits = weight_bits(low[edge], high[edge])
            table[0, row], table[1, row], table[2, row] = part, axon, count[axon]
            table[3, row] = row_words(count[axon], bits, len(neurons), rows)
            count[axon] = 0
            row += 1
        low[:], high[:] = 0, 0
    return table[:, :row]


@compiled()
def measure(order, first_of_part, core_of_part, load, sender_core, rows):
    """Count what parts need: neurons of one group on one core.

    Args:
        order: neurons, part by part; ``first_of_part`` says where each begins.
        core_of_part: its core.
        load: the network.
        sender_core: core of each message's neuron, -1 for the input.
        rows: how synapses are stored.

    Returns:
        (parts, 5): input axons, synapse words, synops, words read, messages arriving; the
        destinations of each message; flows as (from, to, messages) with equal ends together.
    """
    parts, edge_count = len(core_of_part), len(load.edge_bits)
    results = np.zeros((parts, 5))
    destinations = np.zeros(len(load.rates), dtype=np.int32)
    count = np.zeros(len(load.edge_of_axon), dtype=np.int32)
    touched = np.empty(len(load.edge_of_axon), dtype=np.int32)
    low, high = np.zeros(edge_count, dtype=np.int64), np.zeros(edge_count, dtype=np.int64)
    flow = np.zeros(core_of_part.max() + 1)
    senders = np.empty(len(flow), dtype=np.int32)
    flow_from, flow_to, flow_rate = [], [], []
    for part in range(parts):
        neurons = order[first_of_part[part] : first_of_part[part + 1]]
        found = reach(neurons, load, count, touched, low, high)
        sending = 0
        for axon in touched[:found]:
            edge, message = load.edge_of_axon[axon], load.message_of_axon[axon]
            bits = weight_bits(low[edge], high[edge])
            words = row_words(count[axon], bits, len(neurons), rows)
            rate = load.rates[message]
            destinations[message] += 1
            results[part, 0] += 1
            results[part, 1] += words
            results[part, 2] += rate * count[axon]
            results[part, 3] += rate * words
            results[part, 4] += rate
            count[axon] = 0
            sender = sender_core[message]
            if sender >= 0 and rate > 0:
                if flow[sender] == 0:
                    senders[sending] = sender
                    sending += 1
                flow[sender] += rate
        low[:], high[:] = 0, 0
        for sender in senders[:sending]:
            flow_from.append(sender)
            flow_to.append(np.int32(core_of_part[part]))
            flow_rate.append(flow[sender])
            flow[sender] = 0
    return results, destinations, np.array(flow_from), np.array(flow_to), np.array(flow_rate)


@compiled()
def leave_chips(order, first_of_part, chip_of_part, load, sender_core, chip_of_core, chips):
    """Return the messages from each core to each other chip: (cores, chips), one copy a chip.

    Arguments are as in ``measure``; parts of one chip stand together.
    """
    messages = np.zeros((len(chip_of_core), chips))
    seen_on = np.full(len(load.rates), -1, dtype=np.int32)
    for part in range(len(chip_of_part)):
        chip = chip_of_part[part]
        for neuron in order[first_of_part[part] : first_of_part[part + 1]]:
            for index in synapses_of(neuron, load):
                message = load.message_of_axon[load.axons[index]]
                if seen_on[message] == chip:
                    continue
                seen_on[message] = chip
                sender = sender_core[message]
                if sender >= 0 and chip_of_core[sender] != chip:
                    messages[sender, chip] += load.rates[message]
    return messages


@compiled()
def count_uncut(load, index_bits):
    """Return the bits and the synapses of each axon if nothing were cut, and synops by neuron.

    A weight has the bits that its neuron's row needs, and no less on any core.
    """
    segments, firsts = load.segments, load.firsts
    bits = np.zeros(len(load.edge_of_axon), dtype=np.int64)
    fan = np.zeros(len(load.edge_of_axon), dtype=np.int64)
    synops = np.zeros(len(segments) - 1)
    for neuron in range(len(synops)):
        for segment in range(segments[neuron], segments[neuron + 1]):
            low, high = np.int64(load.lows[segment]), np.int64(load.highs[segment])
            stored = index_bits + weight_bits(low, high)
            for index in range(firsts[segment], firsts[segment + 1]):
                axon = load.axons[index]
                bits[axon] += stored
                fan[axon] += 1
                synops[neuron] += load.rates[load.message_of_axon[axon]]
    return bits, fan, synops


# --- searching a partition -----------------------------------------------------------------------


@compiled()
def empty(cores, problem):
    """Return the state of cores without neurons."""
    return State(
        np.zeros((cores, len(problem.load.edge_of_axon)), dtype=np.int32),
        np.zeros((cores, problem.group_of.max() + 1), dtype=np.int64),
        np.zeros((cores, _RESOURCES), dtype=np.int64),
        np.zeros((cores, _TERMS)),
        np.zeros(_RESOURCES, dtype=np.int64),
        np.zeros(_TERMS),
    )


@compiled()
def added(neuron, core, state, problem):
    """Set ``state.need`` and ``state.time`` to what a neuron adds to a core without it."""
    load, count, need, time = problem.load, state.synapses[core], state.need, state.time
    need[Resource.AXON_IN], need[Resource.SYNAPSES], time[:] = 0, 0, 0.0
    for segment in range(load.segments[neuron], load.segments[neuron + 1]):
        bits = load.edge_bits[load.edges[segment]]
        for index in range(load.firsts[segment], load.firsts[segment + 1]):
            axon = load.axons[index]
            before = count[axon]
            rate = load.rates[load.message_of_axon[axon]]
            words = row_words(before + 1, bits, 0, problem.rows)
            if before == 0:
                need[Resource.AXON_IN] += 1
                time[Term.CORE_LINK] += rate
            else:
                words -= row_words(before, bits, 0, problem.rows)
            need[Resource.SYNAPSES] += words
            time[Term.SYNOPS] += rate
            time[Term.WORDS] += rate * words
    time *= problem.nanoseconds
    time[Term.UPDATES] = problem.update_time[neuron]
    need[Resource.NEURON_GROUPS] = 0 if state.present[core, problem.group_of[neuron]] else 1
    own = problem.own_words[neuron]
    need[Resource.NEURONS], need[Resource.AXON_MAP], need[Resource.AXON_MEMORY] = own
    need[Resource.TOTAL] = total_words(need)


@compiled()
def hold(neuron, core, sign, state, problem):
    """Count a neuron's synapses and itself on a core (+1) or no more (-1)."""
    for index in synapses_of(neuron, problem.load):
        state.synapses[core, problem.load.axons[index]] += sign
    state.present[core, problem.group_of[neuron]] += sign


@compiled()
def shift(neuron, core, sign, state, problem):
    """Take a neuron from a core (sign -1) or put it there (+1), keeping the sums right."""
    if sign < 0:
        hold(neuron, core, sign, state, problem)
    added(neuron, core, state, problem)
    if sign > 0:
        hold(neuron, core, sign, state, problem)
    for resource in range(_RESOURCES):
        state.use[core, resource] += sign * state.need[resource]
    for term in range(_TERMS):
        state.spent[core, term] += sign * state.time[term]


@compiled()
def obstacle(use, spent, limits, longest):
    """Return the first resource above its limit, or 7 + the first term above ``longest``, or -1."""
    for resource in range(_RESOURCES):
        if use[resource] > limits[resource]:
            return resource
    for term in range(_TERMS):
        if spent[term] > longest:
            return _RESOURCES + term
    return -1


@compiled()
def is_below(core, state, problem, longest):
    """Tell whether a core is below all limits and its times not above ``longest``."""
    return obstacle(state.use[core], state.spent[core], problem.limits, longest) < 0


@compiled()
def fill(sequence, problem, longest, cores):
    """Fill cores one after another with neurons from the two ends of a sequence.

    A core takes from the front while its synapses take less time than its updates, else from
    the back, and is closed when neither end fits any more: below all limits, and none of its
    times above ``longest``.

    Args:
        sequence: all neurons, one of ``partition.line_up``.
        problem: what to go by.
        longest: nanoseconds.
        cores: give up beyond these.

    Returns:
        Core of each neuron; cores used, ``cores + 1`` if they are not enough; how many cores each
        resource or term closed; the neuron that fits no empty core, or -1; the resource it exceeds,
        and how much of it the neuron needs.
    """
    state = empty(1, problem)
    use, spent = state.use[0], state.spent[0]
    core_of = np.full(len(sequence), -1, dtype=np.int32)
    closed_by = np.zeros(_RESOURCES + _TERMS, dtype=np.int64)
    members = np.empty(len(sequence), dtype=np.int64)
    front, back, core, held = 0, len(sequence) - 1, 0, 0
    while front <= back:
        of_synapses = max(spent[Term.SYNOPS], spent[Term.WORDS], spent[Term.CORE_LINK])
        from_front, closing = of_synapses <= spent[Term.UPDATES], -1
        for _ in range(2):
            neuron = sequence[front] if from_front else sequence[back]
            added(neuron, 0, state, problem)
            closing = obstacle(use + state.need, spent + state.time, problem.limits, longest)
            if closing < 0:
                break
            from_front = not from_front
        if closing < 0:
            core_of[neuron] = core
            members[held] = neuron
            held += 1
            hold(neuron, 0, 1, state, problem)
            use += state.need
            spent += state.time
            if from_front:
                front += 1
            else:
                back -= 1
            continue
        if held == 0:
            if closing >= _RESOURCES:  # only too slow: another limit would do
                return core_of, cores + 1, closed_by, -1, -1, 0
            return core_of, cores + 1, closed_by, neuron, closing, state.need[closing]
        closed_by[closing] += 1
        for neuron in members[:held]:
            hold(neuron, 0, -1, state, problem)
        use[:], spent[:], held = 0, 0.0, 0
        core += 1
        if core >= cores:
            return core_of, cores + 1, closed_by, -1, -1, 0
    return core_of, core + 1, closed_by, -1, -1, 0


@compiled()
def improve(core_of, cores, problem, budget):
    """Move and exchange neurons of the slowest core while that makes it faster; in place.

    A step is taken only if both cores then are faster than the slowest was. ``budget`` bounds
    the synapses looked at. Returns the nanoseconds of each core, by ``CORE_TERMS``.
    """
    state = empty(cores, problem)
    fan = np.empty(len(core_of), dtype=np.int64)
    for neuron in range(len(core_of)):
        shift(neuron, core_of[neuron], 1, state, problem)
        fan[neuron] = len(synapses_of(neuron, problem.load)) + 8
    left = np.full(1, budget, dtype=np.int64)
    while left[0] > 0:
        worst, slowest = 0, -1.0
        for core in range(cores):
            if state.spent[core].max() > slowest:
                worst, slowest = core, state.spent[core].max()
        if not improve_core(worst, slowest * (1 - 1e-9), core_of, fan, left, state, problem):
            break
    return state.spent


@compiled()
def improve_core(worst, goal, core_of, fan, left, state, problem):
    """Bring one core below the goal by a move or an exchange; return whether that was possible."""
    left[0] -= len(core_of)
    members = np.flatnonzero(core_of == worst)
    for neuron in members:
        shift(neuron, worst, -1, state, problem)
        if is_below(worst, state, problem, goal):
            for core in range(len(state.use)):
                if core == worst or state.spent[core].max() > goal:
                    continue
                left[0] -= 2 * fan[neuron]
                shift(neuron, core, 1, state, problem)
                if is_below(core, state, problem, goal):
                    core_of[neuron] = core
                    return True
                shift(neuron, core, -1, state, problem)
        shift(neuron, worst, 1, state, problem)
    for neuron in members:
        shift(neuron, worst, -1, state, problem)
        for other in range(len(core_of)):
            core = core_of[other]
            if core == worst:
                continue
            left[0] -= 2 * fan[other]
            if left[0] < 0:
                break
            shift(other, worst, 1, state, problem)
            if is_below(worst, state, problem, goal):
                shift(other, core, -1, state, problem)
                shift(neuron, core, 1, state, problem)
                if is_below(core, state, problem, goal):
                    core_of[neuron], core_of[other] = core, worst
                    return True
                shift(neuron, core, -1, state, problem)
                shift(other, core, 1, state, problem)
            shift(other, worst, -1, state, problem)
        shift(neuron, worst, 1, state, problem)
        if left[0] < 0:
            break
    return False


@compiled()
def pack(sequence, cores, problem):
    """Put each neuron where it adds the fewest words, opening a core only if it must.

    Returns:
        Core of each neuron, and the cores used; ``cores + 1`` if they are not enough.
    """
    state, limits = empty(cores, problem), problem.limits
    total = state.use[:, Resource.TOTAL]
    core_of = np.full(len(sequence), -1, dtype=np.int32)
    used = 0
    for neuron in sequence:
        best, best_cost, best_left = -1, 1 << 60, 0
        for core in range(min(used + 1, cores)):
            before = total[core]
            shift(neuron, core, 1, state, problem)
            if is_below(core, state, problem, np.inf):
                cost = total[core] - before + (1 << 40 if core == used else 0)
                left = limits[Resource.TOTAL] - total[core]
                if cost < best_cost or (cost == best_cost and left < best_left):
                    best, best_cost, best_left = core, cost, left
            shift(neuron, core, -1, state, problem)
        if best < 0:
            return core_of, cores + 1
        shift(neuron, best, 1, state, problem)
        core_of[neuron] = best
        used = max(used, best + 1)
    return core_of, used


# --- links and placement -------------------------------------------------------------------------


@compiled()
def carry(start, end, messages, grid, loads):
    """Add messages to the links between two routers, along x and then along y.

    ``loads`` are nanoseconds of each link resource; returns how much the sum of their squares
    grows. ``grid`` is a ``placement.Grid``: links that cross the same side of a chip are one
    resource.
    """
    x, y = start % grid.columns, start // grid.columns
    x_end, y_end = end % grid.columns, end // grid.columns
    grown = 0.0
    while x != x_end or y != y_end:
        here = y * grid.columns + x
        if x != x_end:
            step, direction = (1, 0) if x_end > x else (-1, 1)
            x += step
        else:
            step, direction = (1, 2) if y_end > y else (-1, 3)
            y += step
        link = grid.first_of_direction[direction] + here
        resource, more = grid.resource[link], messages * grid.nanoseconds[link]
        grown += more * (2 * loads[resource] + more)
        loads[resource] += more
    return grown


@compiled()
def load_links(router_of, flows, grid, loads):
    """Carry all flows of a ``placement.Flows``; return the sum of squares that they add.

    Ends of flows are indices into ``router_of``.
    """
    squares = 0.0
    for index in range(len(flows.messages)):
        start, end = router_of[flows.start[index]], router_of[flows.end[index]]
        squares += carry(start, end, flows.messages[index], grid, loads)
    return squares


@compiled()
def exchange(first, second, slot_of, router_of_slot, flows, neighbours, grid, loads):
    """Exchange the slots of two cores, and return how much the sum of squared link loads grows."""
    pointers, indices = neighbours
    change = 0.0
    for sign in (-1.0, 1.0):
        for core in (first, second):
            for position in range(pointers[core], pointers[core + 1]):
                index = indices[position]
                start, end = flows.start[index], flows.end[index]
                if core == second and (start == first or end == first):
                    continue
                routers = router_of_slot[slot_of[start]], router_of_slot[slot_of[end]]
                messages = sign * flows.messages[index]
                change += carry(routers[0], routers[1], messages, grid, loads)
        if sign < 0:
            slot_of[first], slot_of[second] = slot_of[second], slot_of[first]
    return change


@compiled()
def anneal(slot_of, router_of_slot, flows, neighbours, grid, steps, slots_of_chip, seed):
    """Exchange what lies in two slots of a chip while the sum of squared link loads falls.

    Works in place, on ``slot_of``.

    Args:
        slot_of: slot of each logical core; then those of what stays where it is.
        router_of_slot: where each slot is.
        flows: a ``placement.Flows``; those from a core to itself are left out.
        neighbours: which of them each core has: pointers, indices.
        grid: as in ``carry``.
        steps: exchanges to try.
        slots_of_chip: the first slots are movable, so many a chip.
        seed: of the random exchanges.
    """
    np.random.seed(seed)
    chips = len(neighbours[0]) // slots_of_chip
    cores = chips * slots_of_chip
    core_in = np.empty(cores, dtype=np.int64)
    for core in range(cores):
        core_in[slot_of[core]] = core
    loads = np.zeros(grid.resource.max() + 1)
    energy = load_links(router_of_slot[slot_of], flows, grid, loads)
    best, best_slots = energy, slot_of.copy()
    heat = 0.02 * energy / max(1, cores)
    for _ in range(steps):
        first = np.random.randint(cores)
        slot = slot_of[first]
        other_slot = slot // slots_of_chip * slots_of_chip + np.random.randint(slots_of_chip)
        if router_of_slot[slot] == router_of_slot[other_slot]:
            continue
        second = core_in[other_slot]
        change = exchange(first, second, slot_of, router_of_slot, flows, neighbours, grid, loads)
        if change <= 0 or np.random.random() < np.exp(-change / (heat + 1e-12)):
            core_in[slot], core_in[other_slot] = second, first
            energy += change
            if energy < best * (1 - 1e-9):
                best = energy
                best_slots[:] = slot_of
        else:
            exchange(first, second, slot_of, router_of_slot, flows, neighbours, grid, loads)
        heat *= 1 - 6.0 / steps
    slot_of[:] = best_slots
