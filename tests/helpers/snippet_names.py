"""What snippets of README and docs take for granted; each page imports the names it uses."""

import numpy as np

from s5_to_loihi import audio
from s5_to_loihi.demo import CALIBRATION

_TOKENS = 500


def _calibration() -> np.ndarray:
    sound = audio.resample(audio.read_wav(CALIBRATION)).samples[0]
    return audio.features(audio.analyse(sound))[:_TOKENS]


#: Data as a denoiser's tokens: (tokens, features) floats.
frames = features = _calibration()
#: One token of integers.
token = np.zeros(features.shape[1], dtype=np.int32)
