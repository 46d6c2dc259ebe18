"""The audio front end: files, the training code's transform, masks, SI-SNR, pictures."""

import hashlib
import re
import struct
from pathlib import Path

import golden
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import wavfile

import s5_to_loihi
from s5_to_loihi import audio
from s5_to_loihi.errors import InputError
from s5_to_loihi.reports.spectrogram import draw_spectrograms

RECORDED = Path(__file__).parent / "data"
SHIPPED = Path(s5_to_loihi.__path__[0]) / "data"


def noise(*shape: int, seed: int = 1) -> np.ndarray:
    """Uniform in [-0.9, 0.9)."""
    return np.random.default_rng(seed).uniform(-0.9, 0.9, shape)


def riff(data: bytes, *, bits=16, channels=1, rate=16000, tag=1) -> bytes:
    """A wav file, byte by byte: what scipy's writer cannot be made to write."""
    align = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def wav_file(directory: Path, content: bytes) -> Path:
    path = directory / "in.wav"
    path.write_bytes(content)
    return path


# Files


@pytest.mark.parametrize(
    ("bits", "data", "expected"),
    [
        (8, bytes([0, 128, 255]), [-1.0, 0.0, 127 / 128]),
        (16, struct.pack("<3h", -32768, 0, 32767), [-1.0, 0.0, 32767 / 32768]),
        (24, bytes([0, 0, 0x80, 0, 0, 0, 0xFF, 0xFF, 0x7F]), [-1.0, 0.0, 1 - 2.0**-23]),
        (32, struct.pack("<3i", -(2**31), 0, 2**31 - 1), [-1.0, 0.0, 1 - 2.0**-31]),
    ],
)
def test_read_pcm(tmp_path, bits, data, expected):
    recording = audio.read_wav(wav_file(tmp_path, riff(data, bits=bits)))
    np.testing.assert_array_equal(recording.samples, [expected])
    assert (recording.samples.dtype, recording.rate, recording.notes) == (np.float64, 16000, ())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_read_float(tmp_path, dtype):
    samples = noise(50, 2).astype(dtype)
    wavfile.write(tmp_path / "in.wav", 48000, samples)
    recording = audio.read_wav(tmp_path / "in.wav")
    np.testing.assert_array_equal(recording.samples, samples.T)
    assert recording.rate == 48000


def test_read_float_beyond_full_scale_is_divided_by_its_peak(tmp_path):
    wavfile.write(tmp_path / "in.wav", 16000, np.array([[0.5, -4.0], [1.0, 2.0]]))
    recording = audio.read_wav(tmp_path / "in.wav")
    np.testing.assert_array_equal(recording.samples, [[0.125, 0.25], [-1.0, 0.5]])
    assert "peak 4" in recording.notes[0]


def test_unknown_chunks_are_skipped(tmp_path):
    content = riff(b"\0\1" * 10) + b"tags" + struct.pack("<I", 4) + b"abcd"
    content = content[:4] + struct.pack("<I", len(content) - 8) + content[8:]
    assert audio.read_wav(wav_file(tmp_path, content)).samples.shape == (1, 10)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"this is a text with another suffix", "not a wav file"),
        (b"fLaC" + bytes(100), "not a wav file"),
        (b"RIFF\x04\0\0\0AVI ", "not a wav file"),
        (riff(bytes(200))[:-1], "truncated"),
        (riff(bytes(200))[:44], "truncated"),
        (riff(bytes(200))[:9], "truncated"),
        (riff(b""), "no samples"),
        (riff(struct.pack("<2f", 0.0, np.nan), bits=32, tag=3), "1 of 2 samples are NaN"),
        (riff(struct.pack("<2f", np.inf, -np.inf), bits=32, tag=3), "2 of 2 samples are NaN"),
        (riff(bytes(90), channels=9), "got 9 channels, limit 8"),
        (riff(bytes(90), rate=7999), "7999 Hz"),
        (riff(bytes(90), rate=384001), "384001 Hz"),
        (riff(bytes(90), channels=0), "damaged"),
        (riff(bytes(80), tag=2, bits=8), "unsupported kind .format 0x2"),
        (riff(bytes(80), bits=64), "samples of 64 bits"),
        (b"RIFF\x04\0\0\0WAVE", "damaged"),
    ],
)
def test_read_refuses(tmp_path, content, message):
    path = wav_file(tmp_path, content)
    with pytest.raises(InputError, match=message) as error:
        audio.read_wav(path)
    assert str(error.value).startswith(str(path))


def changed(content: bytes, *changes: tuple[int, bytes]) -> bytes:
    for position, new in changes:
        content = content[:position] + new + content[position + len(new) :]
    return content


SOUND = struct.pack("<6h", 0, 100, -32768, 32767, 7, -7)
SAMPLES = np.array([[0, 100, -32768, 32767, 7, -7]]) / 32768
UNKNOWN = b"\xff\xff\xff\xff"


def tagged(data: bytes) -> bytes:
    """What ffmpeg writes: tags before the samples."""
    content = riff(data)
    return content[:36] + b"LIST" + struct.pack("<I", 4) + b"INFO" + content[36:]


@pytest.mark.parametrize(
    "content",
    [
        changed(riff(SOUND), (4, UNKNOWN), (40, UNKNOWN)),
        changed(tagged(SOUND), (4, UNKNOWN), (52, UNKNOWN)),
        # sox; a recorder that never came to write its sizes; one that wrote the first of them.
        changed(riff(SOUND), (4, struct.pack("<I", 0x7FFFF024)), (40, b"\0\xf0\xff\x7f")),
        changed(riff(SOUND), (4, bytes(4)), (40, bytes(4))),
        changed(riff(SOUND), (40, UNKNOWN)),
    ],
)
def test_sound_from_a_pipe_is_read_to_its_end(tmp_path, content):
    recording = audio.read_wav(wav_file(tmp_path, content))
    np.testing.assert_array_equal(recording.samples, SAMPLES)
    (note,) = recording.notes
    assert "the header does not say how long it is" in note
    assert "read to the end" in note


def test_big_endian_and_64_bit_headers(tmp_path):
    form = struct.pack(">HHIIHH", 1, 1, 16000, 32000, 2, 16)
    data = np.frombuffer(SOUND, "<i2").astype(">i2").tobytes()
    rifx = b"WAVEfmt " + struct.pack(">I", 16) + form + b"data" + struct.pack(">I", 12) + data
    rifx = b"RIFX" + struct.pack(">I", len(rifx)) + rifx
    sizes = struct.pack("<QQQI", 0, len(SOUND), 6, 0)
    rf64 = b"WAVEds64" + struct.pack("<I", len(sizes)) + sizes + riff(SOUND)[12:40] + UNKNOWN
    rf64 = b"RF64" + UNKNOWN + rf64 + SOUND
    for content in (rifx, rf64):
        recording = audio.read_wav(wav_file(tmp_path, content))
        np.testing.assert_array_equal(recording.samples, SAMPLES)
        assert recording.notes == ()
    with pytest.raises(InputError, match="truncated"):
        audio.read_wav(wav_file(tmp_path, rf64[:-1]))


def test_a_header_that_covers_less_than_the_file_is_told(tmp_path):
    content = riff(SOUND)
    longer = content + SOUND * 2
    recording = audio.read_wav(wav_file(tmp_path, longer))
    np.testing.assert_array_equal(recording.samples, SAMPLES)
    (note,) = recording.notes
    assert note == "the header covers 12 bytes of samples; 24 bytes that follow are left out"
    # Tags behind the samples are no sound, whether or not the first size covers them.
    tags = content + b"id3 " + struct.pack("<I", 3) + b"abc\0"
    assert audio.read_wav(wav_file(tmp_path, tags)).notes == ()
    odd = audio.read_wav(wav_file(tmp_path, riff(SOUND + b"\1")))
    assert odd.notes == ("the last 1 bytes are no whole frame and are left out",)


@pytest.mark.parametrize("byte_rate", [32000, 64000])
def test_a_header_that_contradicts_itself(tmp_path, byte_rate):
    """The second case is consistent in itself: what block size and byte rate say is 2 channels."""
    lie = changed(riff(SOUND), (28, struct.pack("<IH", byte_rate, 4)))
    with pytest.raises(InputError, match=r"1 channel\(s\) of 16 bits take 2 bytes, and it says 4"):
        audio.read_wav(wav_file(tmp_path, lie))


def test_companded_samples(tmp_path):
    """ITU-T G.711: the loudest code of A-law is 32256 of 32768, of mu-law 32124."""
    for tag, code, loudest in ((6, 0xAA, 32256), (7, 0x80, 32124)):
        recording = audio.read_wav(wav_file(tmp_path, riff(bytes([code]), bits=8, tag=tag)))
        np.testing.assert_array_equal(recording.samples, [[loudest / 32768]])


def test_a_file_may_be_called_anything(tmp_path):
    for name in ("REC0001.WAV", "a.raw", "sound", "ä\udcff.wav"):
        (tmp_path / name).write_bytes(riff(SOUND))
        np.testing.assert_array_equal(audio.read_wav(tmp_path / name).samples, SAMPLES)


def test_channels_are_told(tmp_path):
    recording = audio.read_wav(wav_file(tmp_path, riff(SOUND, channels=2)))
    np.testing.assert_array_equal(recording.samples, SAMPLES.reshape(3, 2).T)
    assert recording.notes == ("2 channels: each is a sequence of its own",)


def test_read_refuses_missing_directory_and_long(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        audio.read_wav(tmp_path / "missing.wav")
    with pytest.raises(InputError, match="is a directory"):
        audio.read_wav(tmp_path)
    with pytest.raises(InputError, match=r"cannot be read|no such file"):
        audio.read_wav(tmp_path / ("x" * 5000))
    path = wav_file(tmp_path, riff(bytes(2 * 16001)))
    with pytest.raises(InputError, match=r"lasts 1\.0 s, limit 1 s"):
        audio.read_wav(path, max_seconds=1)


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 59), byte=st.integers(0, 255))
def test_a_damaged_header_is_an_input_error_or_still_sound(tmp_path_factory, position, byte):
    content = bytearray(riff(bytes(range(100))))
    content[position] = byte
    path = wav_file(tmp_path_factory.mktemp("damaged"), bytes(content))
    try:
        recording = audio.read_wav(path)
    except InputError:
        return
    assert np.isfinite(recording.samples).all()
    assert np.abs(recording.samples).max() <= 1.0


def test_write_then_read_is_exact_for_16_bit(tmp_path):
    samples = np.random.default_rng(2).integers(-32768, 32768, (2, 1000)) / 32768
    assert audio.write_wav(tmp_path / "out.wav", samples, 44100) == 0
    recording = audio.read_wav(tmp_path / "out.wav")
    np.testing.assert_array_equal(recording.samples, samples)
    assert recording.rate == 44100
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


def test_write_saturates_and_counts(tmp_path):
    assert audio.write_wav(tmp_path / "out.wav", np.array([[-2.0, -1.0, 0.5, 1.0, 3.0]])) == 3
    _, data = wavfile.read(tmp_path / "out.wav")
    np.testing.assert_array_equal(data, [-32768, -32768, 16384, 32767, 32767])


def test_write_refuses(tmp_path):
    with pytest.raises(InputError, match="no directory"):
        audio.write_wav(tmp_path / "missing" / "out.wav", noise(1, 10))
    with pytest.raises(InputError, match=r"expected \(channels, samples\)"):
        audio.write_wav(tmp_path / "out.wav", noise(10))
    with pytest.raises(InputError, match="NaN"):
        audio.write_wav(tmp_path / "out.wav", np.full((1, 3), np.nan))
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        audio.write_wav(tmp_path / "taken", noise(1, 10))
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.wav"
    path.write_bytes(b"old")

    def fail_midway():
        with audio.replacing(path) as temporary:
            temporary.write_bytes(b"new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# The transform


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_resample_keeps_a_sine(rate):
    def sine(at):
        return np.sin(2 * np.pi * 500 * np.arange(at) / at)[np.newaxis]

    resampled = audio.resample(audio.Audio(sine(rate), rate, ("read",)))
    assert resampled.rate == 16000
    assert resampled.notes == ("read", f"resampled from {rate} Hz to 16000 Hz")
    # Away from the ends, where the filter sees zeros. Its Kaiser window (beta 5) has a ripple of
    # 54 dB: 2e-3.
    np.testing.assert_allclose(resampled.samples[:, 500:-500], sine(16000)[:, 500:-500], atol=2e-3)
    assert audio.resample(resampled) is resampled


def test_analysis_equals_the_training_code():
    with np.load(RECORDED / "jax_stft.npz") as recorded:
        samples = recorded["samples"].astype(np.float64)
        spectrum = audio.analyse(samples)
        masked = audio.synthesise(audio.apply_mask(spectrum, recorded["mask"]), samples.size)
        # The record is float32: 1e-5 of the largest value.
        peak = np.abs(recorded["spectrum"]).max()
        np.testing.assert_allclose(spectrum, recorded["spectrum"], rtol=0, atol=1e-5 * peak)
        assert (recorded["mask"] < -1).any()
        np.testing.assert_allclose(masked, recorded["masked_samples"], rtol=0, atol=1e-5)
        # The training code adds 1e-8 inside the logarithm.
        assert audio.si_snr(masked, samples) == pytest.approx(recorded["si_snr"], abs=1e-3)


def test_features_equal_the_recorded_input():
    with np.load(RECORDED / "recorded_frames.npz") as recorded:
        samples, expected = recorded["samples"] / 32768, recorded["features"]
    # The samples begin where frame 1000 does; ``analyse`` puts two hops of zeros before them.
    features = audio.features(audio.analyse(samples))[2 : 2 + len(expected)]
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-7)
    vectors = golden.load("denoiser_small")
    _, exponent = vectors.formats["INPUT_int"]
    tokens = np.floor(features * 2**exponent)
    # float32 in the record: a value on the edge of an integer may fall to the other side.
    assert np.abs(tokens - vectors.tensors["INPUT_int"][: len(tokens)]).max() <= 1
    assert np.mean(tokens != vectors.tensors["INPUT_int"][: len(tokens)]) < 1e-3


@settings(deadline=None)
@given(length=st.integers(1, 3000))
def test_synthesis_inverts_analysis(length):
    samples = noise(length)
    spectrum = audio.analyse(samples)
    assert spectrum.shape == (audio.frame_count(length), audio.BINS)
    np.testing.assert_allclose(audio.synthesise(spectrum, length), samples, rtol=0, atol=1e-12)


def test_a_clip_of_30_seconds():
    samples = noise(480000)
    spectrum = audio.analyse(samples)
    assert spectrum.shape == (3751, 257)
    np.testing.assert_allclose(audio.synthesise(spectrum, 480000), samples, rtol=0, atol=1e-12)


def test_frames_look_no_further_than_their_window():
    samples = noise(2000)
    np.testing.assert_allclose(
        audio.analyse(samples)[:5], audio.analyse(samples[: 4 * 128 + 256])[:5], rtol=0, atol=1e-15
    )


def test_features_of_a_sine_in_the_middle_of_a_bin():
    samples = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(4096) / 16000)  # bin 32
    features = audio.features(audio.analyse(samples))
    assert features[10, 32] == pytest.approx(0.25 - 0.0007)
    assert features[10, 33] == pytest.approx(-0.0007)


def test_mask_scales_the_magnitude_and_keeps_or_turns_the_phase():
    spectrum = np.array([[3 + 4j, 3 + 4j, 3 + 4j, 0j]])
    masked = audio.apply_mask(spectrum, np.array([[0.0, -1.0, -2.0, 5.0]]))
    np.testing.assert_array_equal(masked, [[3 + 4j, 0, -3 - 4j, 0]])


def test_transforms_refuse():
    for samples in (noise(2, 100), noise(0), np.array([0.0, np.nan])):
        with pytest.raises(InputError, match="samples"):
            audio.analyse(samples)
    with pytest.raises(InputError, match="mask"):
        audio.apply_mask(np.zeros((2, 257), complex), np.zeros((3, 257)))
    with pytest.raises(InputError, match=r"got shape \(5, 257\), 1000 samples need \(9, 257\)"):
        audio.synthesise(np.zeros((5, 257), complex), 1000)


# SI-SNR


@settings(deadline=None)
@given(scale=st.floats(1e-3, 1e3), offset=st.floats(-1, 1), sign=st.sampled_from([-1, 1]))
def test_si_snr_ignores_scale_and_offset(scale, offset, sign):
    clean, estimate = noise(1000), noise(1000) + noise(1000, seed=2)
    expected = audio.si_snr(estimate, clean)
    assert audio.si_snr(sign * scale * estimate + offset, clean) == pytest.approx(expected)
    assert audio.si_snr(estimate, sign * scale * clean + offset) == pytest.approx(expected)


def test_si_snr_by_hand():
    clean = np.array([1.0, -1.0, 1.0, -1.0])
    orthogonal = np.array([1.0, 1.0, -1.0, -1.0])
    assert audio.si_snr(clean + 0.1 * orthogonal, clean) == pytest.approx(20.0)
    assert audio.si_snr(clean, clean) == np.inf
    assert audio.si_snr(orthogonal, clean) == -np.inf
    assert audio.si_snr(np.zeros(4), clean) == -np.inf


def test_si_snr_refuses():
    for silent in (np.zeros(10), np.full(10, 0.1)):
        with pytest.raises(InputError, match="silent"):
            audio.si_snr(noise(10), silent)
    with pytest.raises(InputError, match="9 samples, the reference 10"):
        audio.si_snr(noise(9), noise(10))


# Shipped data


def test_shipped_files_are_those_of_the_readme():
    text = (SHIPPED / "README.md").read_text()
    sums = dict(re.findall(r"\| `(.+?)` \| ([0-9a-f]{64}) \|", text))
    shipped = {str(file.relative_to(SHIPPED)) for file in SHIPPED.rglob("*.*") if file.is_file()}
    # Digests of the zoo are in zoo.json, see test_zoo.py.
    shipped = {name for name in shipped if not name.startswith("zoo/")}
    assert sums.keys() == shipped - {"README.md", "__init__.py"}
    for name, expected in sums.items():
        assert hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest() == expected, name


def test_shipped_clip():
    noisy, clean = (
        audio.read_wav(SHIPPED / "speech" / f"{name}.wav") for name in ("noisy", "clean")
    )
    assert noisy.rate == clean.rate == 16000
    assert noisy.samples.shape == clean.samples.shape == (1, 480000)
    assert audio.si_snr(noisy.samples[0], clean.samples[0]) == pytest.approx(3.63, abs=0.01)


# Pictures


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_pictures_are_reproducible(tmp_path, suffix, magic):
    panels = [("noisy $a_{$", noise(16000)), ("short", noise(100)), ("silent", np.zeros(16000))]
    first, second = tmp_path / f"first.{suffix}", tmp_path / f"second.{suffix.upper()}"
    draw_spectrograms(first, panels, 16000)
    draw_spectrograms(second, panels, 16000)
    assert first.read_bytes().startswith(magic)
    assert first.read_bytes() == second.read_bytes()
    assert set(tmp_path.iterdir()) == {first, second}


def test_pictures_refuse(tmp_path):
    with pytest.raises(InputError, match=r"\.pdf"):
        draw_spectrograms(tmp_path / "picture.pdf", [("noisy", noise(100))], 16000)
    with pytest.raises(InputError, match="nothing to draw"):
        draw_spectrograms(tmp_path / "picture.png", [], 16000)
    for samples in (noise(1, 100), noise(0), np.full(100, np.nan)):
        with pytest.raises(InputError, match="noisy: got shape"):
            draw_spectrograms(tmp_path / "picture.png", [("noisy", samples)], 16000)
    with pytest.raises(InputError, match="no directory"):
        draw_spectrograms(tmp_path / "missing" / "picture.png", [("noisy", noise(100))], 16000)
    assert not list(tmp_path.iterdir())
