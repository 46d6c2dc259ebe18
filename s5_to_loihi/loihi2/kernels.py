"""The loops over synapses and messages, compiled. Everything is an array or a number here.

Resources of a core are counted in the order of ``RESOURCES``; its times in the order of ``TIMES``.
"""

from __future__ import annotations

import numba
import numpy as np

#: Memory of a core, as Intel's compiler prints it.
RESOURCES = ("AxonIn", "NeuronGr", "Neurons", "Synapses", "AxonMap", "AxonMem", "Total")
AXON_IN, GROUPS, NEURONS, SYNAPSES, AXON_MAP, AXON_MEMORY, TOTAL = range(7)
#: What a core spends time on in a timestep, as far as it is known before placement.
TIMES = ("neuron updates", "synops", "memory words", "core link")
UPDATES, SYNOPS, READS, LINK = range(4)


def compiled(function):
    """Compile a function, kept on disk where there is a place to write to."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # neither beside this file nor below a home
        return numba.njit(function)


@compiled
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


@compiled
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


@compiled
def bits_between(low, high):
    """Return the bits of weights between two integers (see ``memory.weight_bits``)."""
    positive, negative = 0, 0
    while high >> positive > 0:
        positive += 1
    if low == 0:
        return max(1, positive)
    while (-low - 1) >> negative > 0:
        negative += 1
    return 1 + max(positive, negative)


@compiled
def words_of_row(count, bits, targets, store):
    """Return the words of a row (see ``memory.row_words``)."""
    header, index_bits, word, dense = store
    words = (header + count * (bits + index_bits) + word - 1) // word
    if dense:
        words = min(words, (header + targets * bits + word - 1) // word)
    return words


@compiled
def synapses_of(neuron, load):
    """Return the numbers of a neuron's synapses."""
    segments, firsts = load.segments, load.firsts
    return range(firsts[segments[neuron]], firsts[segments[neuron + 1]])


@compiled
def measure(order, first_of_part, core_of_part, load, sender_core, store):
    """Count what parts need: neurons of one group on one core.

    Args:
        order: neurons, part by part; ``first_of_part`` says where each begins.
        core_of_part: its core.
        load: ``Workload.arrays``.
        sender_core: core of each message's neuron, -1 for the input.
        store: header, index and word bits, and whether rows may be dense.

    Returns:
        (parts, 5): input axons, synapse words, synops, words read, messages arriving; the
        destinations of each message; flows as (from, to, messages) with equal ends together.
    """
    segments, edges, firsts, axons = load.segments, load.edges, load.firsts, load.axons
    lows, highs, edge_of_axon, rates = load.lows, load.highs, load.edge_of_axon, load.rates
    first_axon, first_message = load.first_axon, load.first_message
    parts, cores = len(core_of_part), core_of_part.max() + 1
    results = np.zeros((parts, 5))
    destinations = np.zeros(len(rates), dtype=np.int32)
    count = np.zeros(len(edge_of_axon), dtype=np.int32)
    touched = np.empty(len(edge_of_axon), dtype=np.int32)
    low = np.zeros(len(first_axon), dtype=np.int64)
    high = np.zeros(len(first_axon), dtype=np.int64)
    flow, senders = np.zeros(cores), np.empty(cores, dtype=np.int32)
    capacity, flows = 1024, 0
    flow_from, flow_to = np.empty(capacity, dtype=np.int32), np.empty(capacity, dtype=np.int32)
    flow_rate = np.empty(capacity)
    for part in range(parts):
        begin, end = first_of_part[part], first_of_part[part + 1]
        found = 0
        for neuron in order[begin:end]:
            for segment in range(segments[neuron], segments[neuron + 1]):
                edge = edges[segment]
                low[edge] = min(low[edge], lows[segment])
                high[edge] = max(high[edge], highs[segment])
                for index in range(firsts[segment], firsts[segment + 1]):
                    axon = axons[index]
                    if count[axon] == 0:
                        touched[found] = axon
                        found += 1
                    count[axon] += 1
        sending = 0
        for axon in touched[:found]:
            edge = edge_of_axon[axon]
            bits = bits_between(low[edge], high[edge])
            words = words_of_row(count[axon], bits, end - begin, store)
            message = axon - first_axon[edge] + first_message[edge]
            rate = rates[message]
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
        for neuron in order[begin:end]:
            for segment in range(segments[neuron], segments[neuron + 1]):
                low[edges[segment]], high[edges[segment]] = 0, 0
        if flows + sending > capacity:
            capacity = 2 * (flows + sending)
            grown_from, grown_to = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
            grown_rate = np.empty(capacity)
            grown_from[:flows], grown_to[:flows] = flow_from[:flows], flow_to[:flows]
            grown_rate[:flows] = flow_rate[:flows]
            flow_from, flow_to, flow_rate = grown_from, grown_to, grown_rate
        for sender in senders[:sending]:
            flow_from[flows], flow_to[flows] = sender, core_of_part[part]
            flow_rate[flows] = flow[sender]
            flow[sender] = 0
            flows += 1
    return results, destinations, flow_from[:flows], flow_to[:flows], flow_rate[:flows]


@compiled
def added(neuron, load, count, store, need, time):
    """Set ``need`` and ``time`` to what a neuron adds to a core with rows of these lengths."""
    segments, edges, firsts, axons = load.segments, load.edges, load.firsts, load.axons
    first_axon, first_message = load.first_axon, load.first_message
    rates, bits_of_edge = load.rates, load.edge_bits
    need[AXON_IN], need[SYNAPSES] = 0, 0
    time[SYNOPS], time[READS], time[LINK] = 0.0, 0.0, 0.0
    for segment in range(segments[neuron], segments[neuron + 1]):
        edge = edges[segment]
        bits = bits_of_edge[edge]
        shift = first_message[edge] - first_axon[edge]
        for index in range(firsts[segment], firsts[segment + 1]):
            axon = axons[index]
            before = count[axon]
            rate = rates[axon + shift]
            words = words_of_row(before + 1, bits, 0, store)
            if before == 0:
                need[AXON_IN] += 1
                time[LINK] += rate
            else:
                words -= words_of_row(before, bits, 0, store)
            need[SYNAPSES] += words
            time[SYNOPS] += rate
            time[READS] += rate * words


@compiled
def leave_chips(order, first_of_part, chip_of_part, load, sender_core, chip_of_core, chips):
    """Return the messages from each core to each other chip: (cores, chips), one copy a chip.

    Arguments are as in ``measure``; parts of one chip stand together.
    """
    axons, edge_of_axon, rates = load.axons, load.edge_of_axon, load.rates
    first_axon, first_message = load.first_axon, load.first_message
    messages = np.zeros((len(chip_of_core), chips))
    seen_on = np.full(len(rates), -1, dtype=np.int32)
    for part in range(len(chip_of_part)):
        chip = chip_of_part[part]
        for neuron in order[first_of_part[part] : first_of_part[part + 1]]:
            for index in synapses_of(neuron, load):
                axon = axons[index]
                edge = edge_of_axon[axon]
                message = axon - first_axon[edge] + first_message[edge]
                if seen_on[message] == chip:
                    continue
                seen_on[message] = chip
                sender = sender_core[message]
                if sender >= 0 and chip_of_core[sender] != chip:
                    messages[sender, chip] += rates[message]
    return messages


@compiled
def add_own(own, neuron, need):
    """Complete what a neuron adds by what it needs on any core, and by the total."""
    need[NEURONS], need[AXON_MAP], need[AXON_MEMORY] = own[neuron]
    need[TOTAL] = need[AXON_IN] + need[SYNAPSES]
    need[TOTAL] += need[NEURONS] + need[AXON_MAP] + need[AXON_MEMORY]


@compiled
def fill(sequence, load, per_neuron, limits, nanoseconds, longest, cores, store):
    """Fill cores one after another with neurons from the two ends of a sequence.

    A core takes from the front while its synapses take less time than its updates, else from
    the back, and is closed when neither end fits any more: below all limits, and none of its
    times above ``longest``.

    Args:
        sequence: all neurons, one of ``partition.line_up``.
        load: ``Workload.arrays``.
        per_neuron: of each neuron its group, words in Neurons, AxonMap and AxonMem (as far as it is
            known before all is placed), and nanoseconds of an update.
        limits: of the resources.
        nanoseconds: of each of ``TIMES`` but the updates, which have their own.
        longest: nanoseconds.
        cores: give up beyond these.
        store: as in ``measure``, without dense rows.

    Returns:
        Core of each neuron; cores used, ``cores + 1`` if they are not enough; how many cores each
        resource or time closed; the neuron that fits no empty core, or -1; the resource it exceeds,
        and how much of it the neuron needs.
    """
    group_of, own, update_of = per_neuron
    core_of = np.full(len(sequence), -1, dtype=np.int32)
    count = np.zeros(len(load.edge_of_axon), dtype=np.int32)
    closed_by = np.zeros(len(limits) + len(nanoseconds), dtype=np.int64)
    use, need = np.zeros(len(limits), dtype=np.int64), np.zeros(len(limits), dtype=np.int64)
    spent, time = np.zeros(len(nanoseconds)), np.zeros(len(nanoseconds))
    present = np.zeros(group_of.max() + 1, dtype=np.bool_)
    members = np.empty(len(sequence), dtype=np.int64)
    front, back, core, held = 0, len(sequence) - 1, 0, 0
    while front <= back:
        from_front = max(spent[SYNOPS], spent[READS], spent[LINK]) <= spent[UPDATES]
        obstacle = -1
        for _ in range(2):
            neuron = sequence[front] if from_front else sequence[back]
            added(neuron, load, count, store, need, time)
            need[GROUPS] = 0 if present[group_of[neuron]] else 1
            add_own(own, neuron, need)
            time *= nanoseconds
            time[UPDATES] = update_of[neuron]
            obstacle = -1
            for resource in range(len(limits)):
                if use[resource] + need[resource] > limits[resource]:
                    obstacle = resource
                    break
            if obstacle < 0:
                for index in range(len(nanoseconds)):
                    if spent[index] + time[index] > longest:
                        obstacle = len(limits) + index
                        break
            if obstacle < 0:
                break
            from_front = not from_front
        if obstacle >= 0:
            if held == 0:
                if obstacle >= len(limits):  # only too slow: another limit would do
                    return core_of, cores + 1, closed_by, -1, -1, 0
                return core_of, cores + 1, closed_by, neuron, obstacle, need[obstacle]
            closed_by[obstacle] += 1
            for neuron in members[:held]:
                present[group_of[neuron]] = False
                for index in synapses_of(neuron, load):
                    count[load.axons[index]] = 0
            use[:], spent[:], held = 0, 0.0, 0
            core += 1
            if core >= cores:
                return core_of, cores + 1, closed_by, -1, -1, 0
            continue
        core_of[neuron] = core
        members[held] = neuron
        held += 1
        present[group_of[neuron]] = True
        use += need
        spent += time
        for index in synapses_of(neuron, load):
            count[load.axons[index]] += 1
        if from_front:
            front += 1
        else:
            back -= 1
    return core_of, core + 1, closed_by, -1, -1, 0


@compiled
def demand(load, index_bits):
    """Return the bits and the synapses of each axon if nothing were cut, and synops by neuron.

    A weight has the bits that its neuron's row needs, and no less on any core.
    """
    segments, edges, firsts, axons = load.segments, load.edges, load.firsts, load.axons
    lows, highs, edge_of_axon, rates = load.lows, load.highs, load.edge_of_axon, load.rates
    first_axon, first_message = load.first_axon, load.first_message
    bits = np.zeros(len(edge_of_axon), dtype=np.int64)
    fan = np.zeros(len(edge_of_axon), dtype=np.int64)
    synops = np.zeros(len(segments) - 1)
    for neuron in range(len(synops)):
        for segment in range(segments[neuron], segments[neuron + 1]):
            shift = first_message[edges[segment]] - first_axon[edges[segment]]
            stored = index_bits + bits_between(np.int64(lows[segment]), np.int64(highs[segment]))
            for index in range(firsts[segment], firsts[segment + 1]):
                axon = axons[index]
                bits[axon] += stored
                fan[axon] += 1
                synops[neuron] += rates[axon + shift]
    return bits, fan, synops


@compiled
def removed(neuron, load, count, store, need, time):
    """Set ``need`` and ``time`` to what a core saves without a neuron that it has."""
    for index in synapses_of(neuron, load):
        count[load.axons[index]] -= 1
    added(neuron, load, count, store, need, time)
    for index in synapses_of(neuron, load):
        count[load.axons[index]] += 1


@compiled
def shift(neuron, load, count, store, core, sign, state, per_neuron, nanoseconds):
    """Take a neuron from a core (sign -1) or put it there (+1), keeping the sums right."""
    use, spent, present = state
    group_of, own, update_of = per_neuron
    need, time = np.zeros(use.shape[1], dtype=np.int64), np.zeros(spent.shape[1])
    if sign > 0:
        added(neuron, load, count, store, need, time)
    else:
        removed(neuron, load, count, store, need, time)
    for index in synapses_of(neuron, load):
        count[load.axons[index]] += sign
    add_own(own, neuron, need)
    time *= nanoseconds
    time[UPDATES] = update_of[neuron]
    present[core, group_of[neuron]] += sign
    for resource in range(use.shape[1]):
        use[core, resource] += sign * need[resource]
    use[core, GROUPS] = 0
    for group in range(present.shape[1]):
        use[core, GROUPS] += 1 if present[core, group] > 0 else 0
    for index in range(spent.shape[1]):
        spent[core, index] += sign * time[index]


@compiled
def is_below(core, state, limits, longest):
    """Tell whether a core is below all limits and its times below ``longest``."""
    use, spent, _ = state
    for resource in range(len(limits)):
        if use[core, resource] > limits[resource]:
            return False
    for index in range(spent.shape[1]):
        if spent[core, index] > longest:
            return False
    return True


@compiled
def improve(core_of, cores, load, per_neuron, limits, nanoseconds, store, budget):
    """Move and exchange neurons of the slowest core while that makes it faster; in place.

    A step is taken only if both cores then are faster than the slowest was. ``budget`` bounds
    the synapses looked at. Arguments are as in ``fill``.
    """
    count = np.zeros((cores, len(load.edge_of_axon)), dtype=np.int32)
    groups = per_neuron[0].max() + 1
    state = (
        np.zeros((cores, len(limits)), dtype=np.int64),
        np.zeros((cores, len(nanoseconds))),
        np.zeros((cores, groups), dtype=np.int64),
    )
    for neuron in range(len(core_of)):
        core = core_of[neuron]
        shift(neuron, load, count[core], store, core, 1, state, per_neuron, nanoseconds)
    fan = np.empty(len(core_of), dtype=np.int64)
    for neuron in range(len(core_of)):
        fan[neuron] = len(synapses_of(neuron, load)) + 8
    left = np.full(1, budget, dtype=np.int64)
    while left[0] > 0:
        worst, slowest = 0, -1.0
        for core in range(cores):
            if state[1][core].max() > slowest:
                worst, slowest = core, state[1][core].max()
        goal = slowest * (1 - 1e-9)
        if not improve_core(
            worst, goal, core_of, cores, load, per_neuron, limits, nanoseconds, store, count,
            state, fan, left,
        ):  # fmt: skip
            break
    return state[1]


@compiled
def improve_core(
    worst, goal, core_of, cores, load, per_neuron, limits, nanoseconds, store, count, state, fan,
    left,
):  # fmt: skip
    """Bring one core below the goal by a move or an exchange; return whether that was possible."""
    left[0] -= len(core_of)
    members = np.flatnonzero(core_of == worst)
    for neuron in members:
        shift(neuron, load, count[worst], store, worst, -1, state, per_neuron, nanoseconds)
        if is_below(worst, state, limits, goal):
            for core in range(cores):
                if core == worst or state[1][core].max() > goal:
                    continue
                left[0] -= 2 * fan[neuron]
                shift(neuron, load, count[core], store, core, 1, state, per_neuron, nanoseconds)
                if is_below(core, state, limits, goal):
                    core_of[neuron] = core
                    return True
                shift(neuron, load, count[core], store, core, -1, state, per_neuron, nanoseconds)
        shift(neuron, load, count[worst], store, worst, 1, state, per_neuron, nanoseconds)
    for neuron in members:
        shift(neuron, load, count[worst], store, worst, -1, state, per_neuron, nanoseconds)
        for other in range(len(core_of)):
            core = core_of[other]
            if core == worst:
                continue
            left[0] -= 2 * fan[other]
            if left[0] < 0:
                break
            shift(other, load, count[worst], store, worst, 1, state, per_neuron, nanoseconds)
            if is_below(worst, state, limits, goal):
                shift(other, load, count[core], store, core, -1, state, per_neuron, nanoseconds)
                shift(neuron, load, count[core], store, core, 1, state, per_neuron, nanoseconds)
                if is_below(core, state, limits, goal):
                    core_of[neuron], core_of[other] = core, worst
                    return True
                shift(neuron, load, count[core], store, core, -1, state, per_neuron, nanoseconds)
                shift(other, load, count[core], store, core, 1, state, per_neuron, nanoseconds)
            shift(other, load, count[worst], store, worst, -1, state, per_neuron, nanoseconds)
        shift(neuron, load, count[worst], store, worst, 1, state, per_neuron, nanoseconds)
        if left[0] < 0:
            break
    return False


@compiled
def pack(sequence, cores, load, per_neuron, limits, nanoseconds, store):
    """Put each neuron where it adds the fewest words, opening a core only if it must.

    Returns:
        Core of each neuron, and the cores used; ``cores + 1`` if they are not enough.
    """
    count = np.zeros((cores, len(load.edge_of_axon)), dtype=np.int32)
    groups = per_neuron[0].max() + 1
    state = (
        np.zeros((cores, len(limits)), dtype=np.int64),
        np.zeros((cores, len(nanoseconds))),
        np.zeros((cores, groups), dtype=np.int64),
    )
    core_of = np.full(len(sequence), -1, dtype=np.int32)
    used = 0
    for neuron in sequence:
        best, best_cost, best_left = -1, 1 << 60, 0
        for core in range(min(used + 1, cores)):
            before = state[0][core, TOTAL]
            shift(neuron, load, count[core], store, core, 1, state, per_neuron, nanoseconds)
            if is_below(core, state, limits, np.inf):
                cost = state[0][core, TOTAL] - before + (1 << 40 if core == used else 0)
                left = limits[TOTAL] - state[0][core, TOTAL]
                if cost < best_cost or (cost == best_cost and left < best_left):
                    best, best_cost, best_left = core, cost, left
            shift(neuron, load, count[core], store, core, -1, state, per_neuron, nanoseconds)
        if best < 0:
            return core_of, cores + 1
        shift(neuron, load, count[best], store, best, 1, state, per_neuron, nanoseconds)
        core_of[neuron] = best
        used = max(used, best + 1)
    return core_of, used


@compiled
def carry(start, end, messages, shape, first_of_direction, place, weight, loads):
    """Add messages to the links between two routers, along x and then along y.

    ``loads`` are nanoseconds of each link resource; returns how much the sum of their squares
    grows. ``place`` and ``weight`` give each link's resource and nanoseconds a message: links that
    cross the same side of a chip are one resource.
    """
    columns = shape
    x, y = start % columns, start // columns
    x_end, y_end = end % columns, end // columns
    grown = 0.0
    while x != x_end or y != y_end:
        if x != x_end:
            step = 1 if x_end > x else -1
            link = first_of_direction[0 if step > 0 else 1] + y * columns + x
            x += step
        else:
            step = 1 if y_end > y else -1
            link = first_of_direction[2 if step > 0 else 3] + y * columns + x
            y += step
        resource, more = place[link], messages * weight[link]
        grown += more * (2 * loads[resource] + more)
        loads[resource] += more
    return grown


@compiled
def load_links(router_of, flows, grid, loads):
    """Carry all flows; ``flows`` are (from, to, messages) by index into ``router_of``."""
    shape, first_of_direction, place, weight = grid
    flow_from, flow_to, messages = flows
    for index in range(len(messages)):
        carry(
            router_of[flow_from[index]], router_of[flow_to[index]], messages[index],
            shape, first_of_direction, place, weight, loads,
        )  # fmt: skip


@compiled
def anneal(slot_of, router_of_slot, flows, neighbours, grid, steps, slots_of_chip, seed):
    """Exchange what lies in two slots of a chip while the sum of squared link loads falls.

    Works in place, on ``slot_of``.

    Args:
        slot_of: slot of each logical core; then those of what stays where it is.
        router_of_slot: where each slot is.
        flows: as in ``load_links``, and which of them each core has (``neighbours``: pointers,
            indices), those from a core to itself left out.
        grid: as in ``carry``.
        steps: exchanges to try.
        slots_of_chip: the first slots are movable, so many a chip.
        seed: of the random exchanges.
    """
    shape, first_of_direction, place, weight = grid
    flow_from, flow_to, messages = flows
    pointers, indices = neighbours
    np.random.seed(seed)
    chips = len(neighbours[0]) // slots_of_chip
    cores = chips * slots_of_chip
    core_in = np.empty(cores, dtype=np.int64)
    for core in range(cores):
        core_in[slot_of[core]] = core
    loads = np.zeros(place.max() + 1)
    energy = 0.0
    for index in range(len(messages)):
        energy += carry(
            router_of_slot[slot_of[flow_from[index]]], router_of_slot[slot_of[flow_to[index]]],
            messages[index], shape, first_of_direction, place, weight, loads,
        )  # fmt: skip
    best, best_slots = energy, slot_of.copy()
    heat = 0.02 * energy / max(1, cores)
    for _ in range(steps):
        first = np.random.randint(cores)
        slot = slot_of[first]
        other_slot = slot // slots_of_chip * slots_of_chip + np.random.randint(slots_of_chip)
        if router_of_slot[slot] == router_of_slot[other_slot]:
            continue
        second = core_in[other_slot]
        change = 0.0
        for sign in (-1.0, 1.0):
            for core in (first, second):
                for position in range(pointers[core], pointers[core + 1]):
                    index = indices[position]
                    start, end = flow_from[index], flow_to[index]
                    if core == second and (start == first or end == first):
                        continue
                    change += carry(
                        router_of_slot[slot_of[start]], router_of_slot[slot_of[end]],
                        sign * messages[index], shape, first_of_direction, place, weight, loads,
                    )  # fmt: skip
            if sign < 0:
                slot_of[first], slot_of[second] = other_slot, slot
        core_in[slot], core_in[other_slot] = second, first
        if change <= 0 or np.random.random() < np.exp(-change / (heat + 1e-12)):
            energy += change
            if energy < best * (1 - 1e-9):
                best = energy
                best_slots[:] = slot_of
        else:
            for sign in (-1.0, 1.0):
                for core in (first, second):
                    for position in range(pointers[core], pointers[core + 1]):
                        index = indices[position]
                        start, end = flow_from[index], flow_to[index]
                        if core == second and (start == first or end == first):
                            continue
                        carry(
                            router_of_slot[slot_of[start]], router_of_slot[slot_of[end]],
                            sign * messages[index], shape, first_of_direction, place, weight,
                            loads,
                        )  # fmt: skip
                if sign < 0:
                    slot_of[first], slot_of[second] = slot, other_slot
            core_in[slot], core_in[other_slot] = first, second
        heat *= 1 - 6.0 / steps
    slot_of[:] = best_slots
