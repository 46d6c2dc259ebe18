"""Sweeps: every combination of settings compiled, mapped and profiled; resumable, parallel."""
