"""What ships with the package: a denoiser, as floats and as Intel's export, and speech."""

from pathlib import Path

DATA = Path(__file__).parent / "data"
#: The float checkpoint, and the export of it by Intel's code.
CHECKPOINT = DATA / "denoiser_small_float"
DENOISER = DATA / "denoiser_small"
CALIBRATION = DATA / "speech" / "calibration.wav"
NOISY = DATA / "speech" / "noisy.wav"
CLEAN = DATA / "speech" / "clean.wav"
#: The float model measured on a GPU, by benchmarks/baselines.py.
GPU = DATA / "baselines" / "denoiser_small_h200.json"
