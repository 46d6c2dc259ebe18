"""What the Intel N-DNS challenge counts besides quality, and its metrics board.

Source: IntelLabs/IntelNeuromorphicDNSChallenge ddf0e5d (MIT), README.md and
example_metricsboard_writeout.py; the evaluation code of the baseline is read in the entries that
changed it (thebarnable/IntelNeuromorphicDNSChallenge d7c6d12, ``eval_net.py``, lines 530 to 586):

    latency     = window + encode and decode of a hop, measured + delay of the network
    power proxy = (synaptic operations + 10 neuron updates) a token / hop
    PDP proxy   = power proxy * latency
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import yaml

from s5_to_loihi import audio
from s5_to_loihi.evaluation.operations import Operations, size
from s5_to_loihi.files.reading import read_yaml
from s5_to_loihi.files.records import Signed, built
from s5_to_loihi.files.writing import replacing
from s5_to_loihi.network.network import Network

#: What a neuron update is worth in synaptic operations.
UPDATE_WEIGHT = 10
HOP_SECONDS = audio.HOP / audio.RATE
BUFFER_MS = audio.WINDOW / audio.RATE * 1e3


def power_proxy(synops: float, updates: float) -> float:
    """Return operations a second, from those of a token."""
    return (synops + UPDATE_WEIGHT * updates) / HOP_SECONDS


def pdp_proxy(power: float, latency_ms: float) -> float:
    """Return the power-delay product in operations."""
    return power * latency_ms / 1e3


@dataclass(frozen=True)
class Resources:
    """What a denoiser takes.

    Attributes:
        synops: synaptic operations a token of synapses that are there.
        synops_dense: the same with zero weights counted, as in the challenge's own code.
        updates: neuron updates a token, of all groups.
        buffer_ms: samples that a token waits for: the window.
        encode_decode_ms: transform to and fro of a hop, on the processor that evaluated.
        network_ms: by which the denoised signal is late, mean over clips.
        parameters, parameters_dense: see ``operations.Size``.
        kilobytes: of the parameters that are there, in 1,000 bytes.
    """

    synops: float
    synops_dense: float
    updates: float
    buffer_ms: float
    encode_decode_ms: float
    network_ms: Signed
    parameters: int
    parameters_dense: int
    kilobytes: float

    @property
    def latency_ms(self) -> float:
        """Of a sample: buffer, encode and decode, network."""
        return self.buffer_ms + self.encode_decode_ms + self.network_ms

    def power(self, dense: bool) -> float:
        """Return the power proxy, operations a second, with or without zero weights."""
        return power_proxy(self.synops_dense if dense else self.synops, self.updates)

    def pdp(self, dense: bool) -> float:
        """Return the PDP proxy, operations, with or without zero weights."""
        return pdp_proxy(self.power(dense), self.latency_ms)


def resources(
    network: Network,
    operations: Sequence[Operations],
    lags: Sequence[float],
    encode_decode_ms: Sequence[float],
) -> Resources | None:
    """Put together what clips took; None without clips.

    Args:
        network: of integers.
        operations: of each clip.
        lags: samples by which each clip's denoised signal is late.
        encode_decode_ms: of a hop, for each clip; the median counts, as other work adds to some.
    """
    tokens = sum(one.tokens for one in operations)
    if not tokens or not encode_decode_ms:
        return None
    sizes = size(network)
    return Resources(
        synops=sum(one.synops for one in operations) / tokens,
        synops_dense=sum(one.synops_dense for one in operations) / tokens,
        updates=sum(one.updates for one in operations) / tokens,
        buffer_ms=BUFFER_MS,
        encode_decode_ms=float(np.median(encode_decode_ms)),
        network_ms=float(np.mean(lags)) / audio.RATE * 1e3,
        parameters=sizes.parameters,
        parameters_dense=sizes.parameters_dense,
        kilobytes=sizes.bytes / 1e3,
    )


# --- published -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A row of the metrics board; None where it leaves something open.

    Attributes:
        name: of the entry.
        si_snr, si_snri, si_snri_encdec: dB.
        dnsmos_ovrl, dnsmos_sig, dnsmos_bak: DNSMOS.
        encode_decode_ms, latency_ms: latency.
        power, pdp: proxies, M-Ops/s and M-Ops.
        parameters: thousands.
        kilobytes: size.
    """

    name: str
    si_snr: float
    si_snri: float | None
    si_snri_encdec: float | None
    dnsmos_ovrl: float | None
    dnsmos_sig: float | None
    dnsmos_bak: float | None
    encode_decode_ms: float | None
    latency_ms: float | None
    power: float | None
    pdp: float | None
    parameters: float | None
    kilobytes: float | None


@dataclass(frozen=True)
class Counts:
    """Operations a token that an entry published.

    Attributes:
        synops, updates: synaptic operations and neuron updates.
        zero_weights: whether the former count zero weights.
        encode_decode_ms: of a hop.
        power_proxy, pdp_proxy: that the entry computed from them; None if it did not.
        source: where they stand.
    """

    synops: float
    updates: float
    zero_weights: bool
    encode_decode_ms: float
    power_proxy: float | None
    pdp_proxy: float | None
    source: str


@functools.lru_cache(maxsize=1)
def published() -> tuple[tuple[Entry, ...], Mapping[str, Counts]]:
    """Return the board, best SI-SNR first, and the counts of those entries that gave them."""
    path = Path(__file__).with_name("published.yaml")
    content = read_yaml(path)
    assert isinstance(content, dict)
    fields = tuple(Entry.__dataclass_fields__)
    entries = tuple(
        built(Entry, dict(zip(fields, row, strict=True)), f"{path.name}, board[{index}]")
        for index, row in enumerate(content["board"])
    )
    counts = {
        name: built(Counts, row, f"{path.name}, {name}") for name, row in content["counts"].items()
    }
    return entries, MappingProxyType(counts)


def write_metricsboard(path: str | os.PathLike, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as the challenge takes them, in a file ``metricsboard_track_1_*.yml``."""
    with replacing(path) as temporary:
        text = yaml.safe_dump([dict(row) for row in rows], sort_keys=False, allow_unicode=True)
        temporary.write_text(text, "utf-8")


def metricsboard_row(
    means: Mapping[str, float | None],
    used: Resources,
    *,
    team: str,
    model: str,
    date: str,
    path: str,
) -> dict[str, object]:
    """Return a row with the keys of the challenge; proxies count zero weights, as its code does.

    Args:
        means: of the denoised clips, see ``METRICS``; None or missing is left open.
        used: what the network took.
        team, model, date: who, what, when.
        path: of the model, for the reader.
    """

    def of(name: str) -> float | None:
        value = means.get(name)
        return None if value is None else round(value, 4)

    return {
        "team": team,
        "model": model,
        "date": date,
        "SI-SNR": of("si_snr"),
        "SI-SNRi_data": of("si_snri"),
        "SI-SNRi_enc+dec": of("si_snri_encdec"),
        "MOS_ovrl": of("dnsmos_ovrl"),
        "MOS_sig": of("dnsmos_sig"),
        "MOS_bak": of("dnsmos_bak"),
        "latency_enc+dec_ms": round(used.encode_decode_ms, 4),
        "latency_total_ms": round(used.latency_ms, 4),
        "power_proxy_Ops/s": round(used.power(dense=True), 1),
        "PDP_proxy_Ops": round(used.pdp(dense=True), 1),
        "params": used.parameters,
        "size_kilobytes": round(used.kilobytes, 3),
        "model_path": path,
    }
