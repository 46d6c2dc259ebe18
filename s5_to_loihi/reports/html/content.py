"""What a report says: its page, and the same as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from s5_to_loihi.evaluation.classification import Answered
from s5_to_loihi.evaluation.result import Evaluated
from s5_to_loihi.profiling.contenders import Contender, ratios
from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.profiling.profile_values import as_dictionary
from s5_to_loihi.profiling.published import published
from s5_to_loihi.reports.html import comparison, costs, evaluation, inside
from s5_to_loihi.reports.html.page import Block, Page, Section, Terms
from s5_to_loihi.reports.html.provenance import provenance
from s5_to_loihi.reports.html.verdict import verdict
from s5_to_loihi.version import VERSION

SCHEMA = "s5_to_loihi report"
SCHEMA_VERSION = 1


def page_of(
    findings: Findings, command: str, evaluated: Evaluated | Answered | None = None
) -> Page:
    """Return the page of a report.

    Args:
        findings: what it says.
        command: that made it.
        evaluated: what an evaluation found, if there was one.
    """
    network, profile = findings.opened.network, findings.own.profile
    said = verdict(findings, evaluated)
    sections = (
        costs.summary(said),
        *(
            (costs.real_time(findings), costs.cost(findings))
            if profile.denoiser
            else (costs.cost(findings), costs.real_time(findings))
        ),
        costs.measured(findings),
        evaluation.section(evaluated),
        comparison.comparison(findings),
        inside.activity(findings),
        inside.drawings(findings),
        inside.values(findings),
        provenance(findings, command),
    )
    neurons = sum(group.size for group in network.groups)
    return Page(
        title=network.name,
        about=(
            f"What a token costs on Loihi 2 · {len(network.groups)} neuron groups, {neurons:,}"
            f" neurons, {network.synapse_count:,} synapses · activity {findings.recording.origin}"
        ),
        answer=said.answer,
        verdict=said.rest,
        doubt=said.doubt,
        sections=tuple(_terms_once([section for section in sections if section is not None])),
    )


def _terms_once(sections: Sequence[Section]) -> Iterator[Section]:
    """Yield sections that say of each term once what it means, where it stands first."""
    known: set[str] = set()
    for section in sections:
        blocks: list[Block] = []
        for block in section.blocks:
            if isinstance(block, Terms):
                new = {name: block.terms[name] for name in block.terms if name not in known}
                known |= set(new)
                blocks += [Terms(new)] if new else []
            else:
                blocks.append(block)
        yield dataclasses.replace(section, blocks=tuple(blocks))


def dictionary_of(
    findings: Findings, command: str, evaluated: Evaluated | Answered | None = None
) -> dict:
    """Return what a report says for JSON; described in ``docs/report.md``."""
    own = findings.own
    plain = dataclasses.asdict
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "tool_version": VERSION,
        "command": command,
        "network": findings.opened.network.name,
        "bundle_digest": findings.digest,
        "source": dict(findings.opened.source),
        "notes": list(findings.opened.notes),
        "remarks": list(findings.remarks),
        "profile": as_dictionary(own.profile),
        "networks": [_network(one, own) for one in findings.contenders],
        "baselines": [plain(one) for one in findings.baselines],
        "published": {key: plain(row) for key, row in published().items()},
        "measured": findings.measured and plain(findings.measured),
        "compared": [plain(one) for one in findings.compared],
        "verification": [{**plain(run), "equal": run.equal} for run in findings.runs],
        "clipped_inputs": findings.clipped,
        "denoising": findings.denoising and plain(findings.denoising),
        "dense_denoising": findings.dense_denoising and plain(findings.dense_denoising),
        "values": [plain(one) for one in findings.values],
        "weights": [plain(one) for one in findings.weights],
        "accumulators": [plain(one) for one in findings.ports],
        "evaluation": evaluated and plain(evaluated),
    }


def _network(one: Contender, own: Contender) -> dict:
    """Return a network on the chip; the first one is the network itself."""
    return {
        "name": one.name,
        "what": one.what,
        "system": one.profile.system,
        "synapses": one.network.synapse_count,
        "words": {resource.label: count for resource, count in one.words.items()},
        "cores": one.profile.mapping.cores,
        "synops": dataclasses.asdict(one.profile.activity.synops),
        "latency": dataclasses.asdict(one.profile.modes["fall-through"].latency),
        "timestep": dataclasses.asdict(one.profile.modes["pipelined"].timestep),
        "energy": {
            mode: {
                scope: dataclasses.asdict(split.total) for scope, split in profile.energy.items()
            }
            for mode, profile in one.profile.modes.items()
        },
        "ratios": [] if one is own else [dataclasses.asdict(ratio) for ratio in ratios(own, one)],
    }
