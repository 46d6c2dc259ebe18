"""Training of S5 models in PyTorch: dense, sparse, and with the integers that are deployed.

Needs the extra ``train``. Tokens are (T, N, F): tokens, sequences, features, as everywhere here;
``slayer.py`` speaks lava-dl's (N, C, T).
"""
