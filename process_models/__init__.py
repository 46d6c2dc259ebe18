"""Lava Processes of a compiled network and the models that run them.

Lava looks for models by executing every file of this folder; it holds ``process.py`` and
``models.py`` only. Import the Processes from ``s5_to_loihi.process_models.process``.
"""
