"""s5_to_loihi: compile quantized, sparse S5 models to Loihi 2 networks in Lava."""

__version__ = "0.1.0"
