"""Mapping networks onto Loihi 2: facts, core memory, partition, placement, bounds, rules."""
