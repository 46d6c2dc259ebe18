"""The intermediate representation: neuron kinds, synapses, network, text form, verifier."""
