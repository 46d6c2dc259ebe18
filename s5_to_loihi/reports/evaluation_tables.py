"""Tables of an evaluation: means, clips, what stays out, and the network beside the challenge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from s5_to_loihi.evaluation.challenge import Resources, published
from s5_to_loihi.evaluation.clip import FLOAT, INTEGERS, NOISY
from s5_to_loihi.evaluation.metrics import METRICS, SIGNAL
from s5_to_loihi.evaluation.neurobench import NeuroBench
from s5_to_loihi.evaluation.result import Clip, Evaluated
from s5_to_loihi.evaluation.statistics import CONFIDENCE, Mean, differences
from s5_to_loihi.reports.table import Cell, Content, Mark, Row, Table, of_rows, strong

#: Up to so many clips are all listed; of more, so many of the worst.
ALL_CLIPS, WORST_CLIPS = 12, 5
#: Clips that a note names.
NAMED = 3
TITLES = {NOISY: "noisy", FLOAT: "float model", INTEGERS: "integers"}
BASELINE_TITLES = {"nsnet2": "NSNet2", "rnnoise": "RNNoise", "intel_sdnn": "Intel's baseline"}

SAME_AND_NOT = (
    "Same as in the challenge: SI-SNR and DNSMOS by its code's rules; window 32 ms and hop 8 ms;"
    " latency = window + encode and decode + delay of the denoised signal; power proxy = (synaptic"
    " operations + 10 neuron updates) a second; PDP proxy = power proxy x latency.",
    "Not the same: the clips (the board's are test set 1); encode and decode was timed on this"
    " processor; neuron updates are of all our groups, the output included (the baseline counts"
    " its input and no output), a complex state as one; zero weights are counted by the baseline"
    " and Clairaudience, not by SPANDEX, others do not say: both readings are given.",
)


def verdict(evaluated: Evaluated) -> str:
    """Return the result in a sentence or two."""
    count = len(evaluated.included)
    clips = f"{count:,} clip{'s' * (count != 1)} paired by {evaluated.paired_by}"
    means = evaluated.means.get(INTEGERS, {})
    if "si_snr" in means:
        text = (
            f"{evaluated.network} on {clips}: SI-SNR {means['si_snr'].value:.2f} dB,"
            f" {_better(means['si_snri'].value)} than the noisy recordings"
        )
    elif "dnsmos_ovrl" in means:
        before = evaluated.means[NOISY]["dnsmos_ovrl"].value
        text = (
            f"{evaluated.network} on {count:,} clips ({evaluated.paired_by}): DNSMOS OVRL"
            f" {before:.2f} noisy, {means['dnsmos_ovrl'].value:.2f} denoised"
        )
    else:
        text = f"{evaluated.network}: no clip could be judged"
    rounding = evaluated.rounding.get("si_snr")
    if rounding is not None:
        text += f"; integers less float model: {_mean(rounding, 'si_snr', 2)} dB"
    return text


def facts(evaluated: Evaluated) -> list[tuple[str, str]]:
    """Return the means that a summary names: noisy, float model, integers and other denoisers."""
    found = []
    for name in METRICS:
        if name not in evaluated.metrics:
            continue
        means = {signal: evaluated.means.get(signal, {}).get(name) for signal in evaluated.signals}
        said = [f"{_title(one)} {_mean(mean, name)}" for one, mean in means.items() if mean]
        found.append((_metric(name), ", ".join(said)))
    used = evaluated.resources
    if used is not None:
        found.append(
            (
                "challenge",
                f"latency {used.latency_ms:.2f} ms, power proxy {used.power(False) / 1e6:.2f}"
                f" M-Ops/s, {used.parameters:,} parameters (zeros not counted)",
            )
        )
    return found


def warnings(evaluated: Evaluated) -> list[str]:
    """Return what a summary says of clips that are in no mean."""
    reasons = [clip.excluded for clip in evaluated.clips if clip.excluded is not None]
    if not reasons:
        return []
    return [
        f"{len(reasons):,} of {len(evaluated.clips):,} clips are in no mean; the first:"
        f" {reasons[0]}"
    ]


def _better(difference: float) -> str:
    return f"{abs(difference):.2f} dB {'better' if difference >= 0 else 'worse'}"


def mean_tables(evaluated: Evaluated) -> tuple[Table, ...]:
    """One row a metric: the network and its float model; other denoisers in another table."""
    own = [name for name in (NOISY, FLOAT, INTEGERS) if name in evaluated.signals]
    others = [name for name in evaluated.signals if name not in own]
    count = len(evaluated.included)
    title = (
        f"Means over {count:,} of {len(evaluated.clips):,} clips"
        f" (±: {CONFIDENCE:.0%} confidence, for clips like these)"
    )
    tables = [_mean_table(evaluated, title, own, evaluated.rounding)]
    if others:
        tables.append(_mean_table(evaluated, "Other denoisers, same clips", [*others, INTEGERS]))
    return tuple(tables)


def _mean_table(
    evaluated: Evaluated,
    title: str,
    signals: Sequence[str],
    rounding: Mapping[str, Mean] | None = None,
) -> Table:
    names = [name for name in METRICS if name in evaluated.metrics]
    headings = ["metric", *(f"{_title(signal)} #" for signal in signals)]
    rows: list[list[Cell | Content]] = []
    for name in names:
        cells: list[Cell | Content] = [_metric(name)]
        cells += [_mean(evaluated.means.get(signal, {}).get(name), name) for signal in signals]
        if rounding:
            cells.append(_mean(rounding.get(name), name, 2))
        rows.append(cells)
    if rounding:
        headings.append("int. less float #")
    return of_rows(title, headings, rows)


def _title(signal: str) -> str:
    return TITLES.get(signal) or BASELINE_TITLES.get(signal, signal)


def _metric(name: str) -> str:
    metric = METRICS[name]
    family = "DNSMOS " if name.startswith("dnsmos") else ""
    return f"{family}{metric.title}" + (f", {metric.unit}" if metric.unit else "")


def _mean(mean: Mean | None, name: str, more_digits: int = 0) -> str:
    if mean is None:
        return "-"
    digits = METRICS[name].digits + more_digits
    reach = "" if mean.high is None else f" ±{mean.high - mean.value:.{digits}f}"
    return f"{mean.value:.{digits}f}{reach}"


def clip_table(evaluated: Evaluated, most: int = ALL_CLIPS) -> Table:
    """One row a clip, the least improved first; of many only the worst."""
    names = [name for name in METRICS if name in evaluated.metrics]
    compared = bool(evaluated.rounding)
    judged = "si_snri" in names
    by = "si_snri" if judged else "dnsmos_ovrl"
    clips = sorted(evaluated.included, key=lambda clip: _value(clip, INTEGERS, by) or 0.0)
    shown = clips if len(clips) <= most else clips[:WORST_CLIPS]
    perceptual = [name for name in names if METRICS[name].family != SIGNAL]
    headings = ["clip"]
    if judged:
        headings += ["noisy #", "denoised #", "better by #"]
        headings += ["less float #"] * compared
    headings += [f"{METRICS[name].title} #" for name in perceptual]
    rows = []
    for clip in shown:
        cells: list[Cell | Content] = [clip.name]
        if judged:
            cells.append(_number(_value(clip, NOISY, "si_snr"), 2))
            cells.append(_number(_value(clip, INTEGERS, "si_snr"), 2))
            gain = _value(clip, INTEGERS, "si_snri")
            worse = gain is not None and gain < 0
            cells.append(Cell(_number(gain, 2), Mark.BAD if worse else None))
            if compared:
                own, float_model = (
                    [_value(clip, signal, "si_snr")] for signal in (INTEGERS, FLOAT)
                )
                cells.append(_number(differences(own, float_model)[0], 4))
        cells += [
            _number(_value(clip, INTEGERS, name), METRICS[name].digits) for name in perceptual
        ]
        rows.append(cells)
    what = "Clips" if len(shown) == len(clips) else f"The {len(shown)} worst clips"
    order = "least improved" if judged else "lowest OVRL"
    unit = ", SI-SNR in dB" if judged else ""
    return of_rows(f"{what}, {order} first{unit}", headings, rows)


def rounding_table(evaluated: Evaluated) -> Table | None:
    """The clips that integers lose most of against the float model; None without one."""
    pairs = [
        (clip, difference)
        for clip, difference in zip(
            evaluated.included, evaluated.rounding_of("si_snr"), strict=True
        )
        if difference is not None
    ]
    if len(pairs) <= ALL_CLIPS:  # all of them are in the table of clips
        return None
    worst = sorted(pairs, key=lambda pair: pair[1])[:WORST_CLIPS]
    return of_rows(
        f"The {WORST_CLIPS} clips that integers lose most of, SI-SNR in dB",
        ("clip", "denoised #", "less float #"),
        (
            (clip.name, _number(_value(clip, INTEGERS, "si_snr"), 2), _number(lost, 4))
            for clip, lost in worst
        ),
    )


def _value(clip: Clip, signal: str, name: str) -> float | None:
    return clip.values.get(signal, {}).get(name)


def _number(value: float | None, digits: int) -> Content:
    # Texts: a page would choose digits by the number, here they line up.
    return "-" if value is None else f"{value:,.{digits}f}"


def excluded_table(evaluated: Evaluated) -> Table | None:
    """One row a clip that is in no mean, with the reason; None if there is none."""
    clips = [clip for clip in evaluated.clips if clip.excluded is not None]
    if not clips:
        return None
    return of_rows(
        f"In no mean: {len(clips):,} of {len(evaluated.clips):,} clips",
        ("clip", "why"),
        ((clip.name, Cell(clip.excluded or "", Mark.NOTICE)) for clip in clips),
    )


def note_table(evaluated: Evaluated) -> Table | None:
    """One row a note, with the clips that it is of; None if there is none."""
    of_note: dict[str, list[str]] = {}
    for clip in evaluated.included:
        more = []
        if clip.saturated_inputs:
            more.append("integers: inputs beyond the network's format were clipped")
        if clip.beyond_full_scale:
            more.append("integers: beyond full scale, which a wav file clips")
        for note in (*clip.notes, *more):
            of_note.setdefault(note, []).append(clip.name)
    if not of_note:
        return None
    return of_rows(
        "What clips in the means have",
        ("note", "clips #", "which"),
        (
            (
                Cell(note, Mark.NOTICE),
                len(names),
                ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else ""),
            )
            for note, names in of_note.items()
        ),
    )


# --- the challenge -------------------------------------------------------------------------------


def resource_table(used: Resources) -> Table:
    """One row a quantity that the N-DNS challenge asks for."""
    parts = (
        f"window {used.buffer_ms:.0f}, encode and decode {used.encode_decode_ms:.3f} (this"
        f" processor), network {used.network_ms:.3f}"
    )
    return of_rows(
        "As the Intel N-DNS challenge counts (track 1)",
        ("what", "zeros counted #", "not counted #", "unit", "how"),
        (
            ("latency", f"{used.latency_ms:.2f}", f"{used.latency_ms:.2f}", "ms", parts),
            (
                "synaptic operations",
                *(f"{value:,.0f}" for value in (used.synops_dense, used.synops)),
                "a token",
                "measured messages times synapses",
            ),
            (
                "neuron updates",
                *(f"{used.updates:,.0f}" for _ in range(2)),
                "a token",
                "all groups",
            ),
            (
                "power proxy",
                *(f"{used.power(dense) / 1e6:.2f}" for dense in (True, False)),
                "M-Ops/s",
                "(operations + 10 updates) / 8 ms",
            ),
            (
                "PDP proxy",
                *(f"{used.pdp(dense) / 1e6:.4f}" for dense in (True, False)),
                "M-Ops",
                "power proxy x latency",
            ),
            (
                "parameters",
                *(f"{value:,}" for value in (used.parameters_dense, used.parameters)),
                "",
                "weights and constants of neurons",
            ),
            (
                "size",
                "-",
                f"{used.kilobytes:.1f}",
                "KB",
                "at their widths; no indices",
            ),
        ),
    )


def board_table(evaluated: Evaluated) -> Table:
    """One row a published entry of the challenge, ours among them by SI-SNR."""
    entries, _ = published()
    rows: list[tuple[float, Row]] = [
        (
            entry.si_snr,
            _row(
                entry.name,
                entry.si_snr,
                entry.si_snri,
                *(entry.dnsmos_ovrl, entry.dnsmos_sig, entry.dnsmos_bak),
                *(entry.latency_ms, entry.power, entry.pdp, entry.parameters),
            ),
        )
        for entry in entries
    ]
    used, means = evaluated.resources, evaluated.means.get(INTEGERS, {})
    own = {name: mean.value for name, mean in means.items()}
    if used is not None and "si_snr" in own:
        quality = [own.get(name) for name in ("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak")]
        for label, dense in (("zeros counted", True), ("zeros not counted", False)):
            rows.append(
                (
                    own["si_snr"],
                    strong(
                        *_row(
                            f"this network, {label}",
                            own["si_snr"],
                            own.get("si_snri"),
                            *quality,
                            used.latency_ms,
                            used.power(dense) / 1e6,
                            used.pdp(dense) / 1e6,
                            (used.parameters_dense if dense else used.parameters) / 1e3,
                        ).cells
                    ),
                )
            )
    rows.sort(key=lambda row: -row[0])
    return of_rows(
        "Entries of the Intel N-DNS challenge, track 1, as published on test set 1;\nthis network"
        " on the clips given here: not the same data",
        (
            "entry",
            *("SI-SNR # dB", "SI-SNRi # dB", "OVRL #", "+SIG #", "+BAK #", "latency # ms"),
            *("power # M-Ops/s", "PDP # M-Ops", "params # k"),
        ),
        (row for _, row in rows),
    )


def _row(name: str, *values: float | None) -> Row:
    digits = (2, 2, 2, 2, 2, 2, 2, 2, 0)
    cells = [_number(value, places) for value, places in zip(values, digits, strict=True)]
    return Row((Cell(name), *map(Cell, cells)))


def neurobench_table(found: NeuroBench) -> Table:
    """One row a metric of NeuroBench."""
    return of_rows(
        f"NeuroBench {found.version}, by its own code, {found.tokens:,} tokens of the first clip",
        ("metric", "value #", "what"),
        (
            ("footprint", f"{found.footprint:,}", "bytes; weights, constants, registers"),
            ("parameter count", f"{found.parameter_count:,}", "that are not zero"),
            ("connection sparsity", f"{found.connection_sparsity:.4f}", "zeros in matrices"),
            ("activation sparsity", f"{found.activation_sparsity:.4f}", "zeros in messages"),
            ("effective MACs", f"{found.effective_macs:,.1f}", "a token"),
            ("effective ACs", f"{found.effective_acs:,.1f}", "a token"),
            ("dense operations", f"{found.dense:,.0f}", "a token, if nothing were zero"),
        ),
    )
