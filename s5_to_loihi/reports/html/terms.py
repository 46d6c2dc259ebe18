"""What the words of a report mean, said where they are used first; docs/glossary.md says more."""

from __future__ import annotations

from s5_to_loihi.reports.html.page import Terms

_MEANINGS = {
    "Token": "One vector of input; for a denoiser the spectrum of a frame of sound.",
    "Fall-through": "A token passes through all layers before the next one enters: the lowest"
    " latency. This is how a stream is computed.",
    "Pipelined": "A token enters at every timestep and each layer works on a different one: the"
    " highest throughput. This is how recordings are computed.",
    "Timestep": "One beat of the chip: neurons update, send and receive. It lasts as long as the"
    " busiest core needs.",
    "Neurocore rails": "Power scope: the supplies of the chip's cores. The scope 'chip with x86'"
    " adds the processors on the chip, 'board' everything around it.",
    "Synop": "Synaptic operation: a message that arrives at a stored weight.",
    "Graded message": "What a neuron sends when its value is not zero: an integer. Zeros are not"
    " sent and cost nothing downstream.",
    "Dense twin": "The same integers with every zero stored as a weight: it computes the same, and"
    " shows what sparsity saves.",
    "Core": "One of the chip's processors, with its own memory for neurons and weights.",
    "Headroom": "Bits between the largest magnitude that occurred and the limit of the format.",
    "Format": "Bits and exponent of an integer: its value is integer · 2^-exponent.",
    "SQNR": "Signal to quantization noise: how close integers come to the float model.",
    "SI-SNR": "How close sound is to its clean version, whatever the volume. More is better.",
}


def terms(*names: str) -> Terms:
    """Return what some words mean."""
    return Terms({name: _MEANINGS[name] for name in names})
