"""A network of tokens as a block between layers that speak differences, as those of netx do."""

from __future__ import annotations

from s5_to_loihi.errors import NetworkError
from s5_to_loihi.fixed_point import Format
from s5_to_loihi.network.builder import NetworkBuilder
from s5_to_loihi.network.network import INPUT, Endpoint, Network, NeuronGroup, Readout
from s5_to_loihi.network.neurons.sigma_delta import (
    DELTA,
    TOKENS,
    DeltaConstants,
    Encoder,
    TokensConstants,
    delta_formats,
)
from s5_to_loihi.network.neurons.words import WHOLE, WORD
from s5_to_loihi.network.widths import MESSAGE_BITS

#: Fractional bits of the sums that netx's messages stand for, before its spike exponent.
BASE_EXPONENT = 6
#: netx's usual spike exponent: a message of 4096 is 1.0.
SPIKE_EXP = 6


def adds_up(group: NeuronGroup) -> bool:
    """Tell whether a group adds up differences to tokens, from the first timestep on."""
    return group.kind is TOKENS


def lasts(group: NeuronGroup) -> bool:
    """Tell whether a group's registers go on over the end of a sequence."""
    return group.kind.lasting


def join(
    builder: NetworkBuilder,
    network: Network,
    message: Endpoint,
    prefix: str,
    threshold: int,
    early: int = 0,
) -> Endpoint:
    """Add a network of tokens to one that sends differences; return the differences it sends.

    Its tokens are the sums of what arrived; what it sends is how its outputs change, encoded
    without drift. Both are in the exponent of ``message``.

    Args:
        builder: of the network to add to.
        network: verified, one output a token.
        message: differences, one for each of the network's features.
        prefix: before the names of its groups and synapses.
        threshold: least change that is sent, in units of ``2**-BASE_EXPONENT``, as netx's vThMant.
        early: updates before the first token, in which differences are added up already.

    Raises:
        NetworkError: the sizes differ, or its readout is none of each token.
    """
    size, exponent = builder.size(message), builder.format(message).exponent
    if size != network.input_size:
        raise NetworkError(
            prefix, f"takes {network.input_size} features, {message} has {size}", "Check the layers"
        )
    if network.readout is not Readout.EACH_TOKEN:
        raise NetworkError(
            prefix, f"has the readout {network.readout.value}", "Use one with an output each token"
        )
    token = network.input_format
    group = f"{prefix}.tokens"
    builder.hand_on(f"{group}.input", message, Endpoint(group, "low"))
    constants = TokensConstants(WHOLE, token.exponent - exponent, token)
    formats = {"sigma": Format(WORD.bits, exponent), "token": token}
    builder.group(group, TOKENS, constants, formats, early=early)
    names = {INPUT: group}
    for one in network.groups:
        names[one.name] = f"{prefix}.{one.name}"
        for edge in network.incoming(one.name):
            source = Endpoint(names[edge.source.group], edge.source.name)
            target = Endpoint(names[one.name], edge.target.name)
            name = f"{prefix}.{edge.name}"
            builder.connect(
                name, source, target, edge.weights, edge.exponent, product_bits=edge.product_bits
            )
        builder.group(names[one.name], one.kind, one.constants, one.formats, one.waits)
    output = Endpoint(names[network.output.group], network.output.name)
    group = f"{prefix}.differences"
    builder.hand_on(f"{group}.input", output, Endpoint(group, "low"))
    lift = exponent - builder.format(output).exponent
    encoder = Encoder(threshold << max(0, exponent - BASE_EXPONENT), cut=0, corrected=0)
    builder.group(group, DELTA, DeltaConstants(WHOLE, lift, encoder), delta_formats(exponent, 0))
    return Endpoint(group, "difference")


def as_block(network: Network, threshold: int, spike_exp: int = SPIKE_EXP) -> Network:
    """Return a network of tokens as one of differences, without phases; see ``join``.

    Args:
        network: verified, one output a token.
        threshold: least change that is sent, in units of ``2**-BASE_EXPONENT``.
        spike_exp: messages have ``BASE_EXPONENT + spike_exp`` fractional bits.
    """
    exponent = BASE_EXPONENT + spike_exp
    builder = NetworkBuilder(network.name, network.input_size, Format(MESSAGE_BITS, exponent))
    return builder.readout(join(builder, network, builder.token, "block", threshold))
