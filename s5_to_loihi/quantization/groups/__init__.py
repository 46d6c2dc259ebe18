"""From a layer of floats and what enters it to a group of neurons, one file a kind of group."""
