"""Sound that is cleaned while it comes is that of the whole recording, whatever the chunks."""

import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import wait_until

from s5_to_loihi import audio, bundle
from s5_to_loihi.audio import HOP, RATE
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.commands import pcm_pipe
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER, NOISY
from s5_to_loihi.denoising import denoise
from s5_to_loihi.errors import InputError
from s5_to_loihi.streaming import HOP_SECONDS, DenoiserStream, HopTimes

COMMAND = [sys.executable, "-m", "s5_to_loihi.cli", "stream"]


@pytest.fixture(scope="module")
def network():
    return compile_export(DENOISER).network


@pytest.fixture(scope="module")
def speech():
    return audio.read_wav(NOISY).samples[0][: 14 * RATE]


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    target = tmp_path_factory.mktemp("stream") / "denoiser.bundle"
    bundle.write(bundle.Bundle(network, None), target)
    return target


def offline(network, samples):
    return denoise(network, samples[None], Backend.FAST).samples[0]


def pieces(samples, sizes):
    """Cut samples into chunks, with the sizes in turn."""
    cut, turn = [], 0
    while len(samples):
        size = sizes[turn % len(sizes)]
        cut.append(samples[:size])
        samples, turn = samples[size:], turn + 1
    return cut


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(1, 3000) | st.sampled_from([1, 127, 128, 129, 511, 512, 513, 12 * RATE]),
    sizes=st.lists(st.integers(1, 900) | st.integers(1, 10 * RATE), min_size=1, max_size=5),
    start=st.integers(0, 2 * RATE),
)
def test_any_chunks_give_the_samples_of_the_whole(network, speech, length, sizes, start):
    samples = speech[start : start + length]
    stream = DenoiserStream(network)
    chunks = pieces(samples, sizes)
    answers = [stream.process(chunk) for chunk in chunks]
    assert [len(answer) for answer in answers] == [len(chunk) for chunk in chunks]
    heard = np.concatenate([*answers, stream.finish()])
    np.testing.assert_array_equal(heard[: stream.delay], 0)
    np.testing.assert_array_equal(heard[stream.delay :], offline(network, samples))


@pytest.mark.parametrize(
    ("grid", "delay"), [(1, 511), (3, 511), (160, 480), (128, 384), (256, 384)]
)
def test_chunks_on_a_grid_come_earlier(network, speech, grid, delay):
    samples = speech[: 20 * 1920]
    stream = DenoiserStream(network, grid)
    assert stream.delay == delay
    size = 1920 // grid * grid or grid
    answers = [stream.process(chunk) for chunk in pieces(samples, [size]) if not len(chunk) % grid]
    count = sum(map(len, answers))
    heard = np.concatenate([*answers, stream.finish()])[delay:]
    np.testing.assert_array_equal(heard, offline(network, samples[:count]))


def test_a_long_chunk_and_single_samples_are_the_same(network, speech):
    samples = speech[:1500]
    streams = DenoiserStream(network), DenoiserStream(network)
    whole = streams[0].process(samples)
    single = np.concatenate([streams[1].process(samples[i : i + 1]) for i in range(len(samples))])
    np.testing.assert_array_equal(whole, single)


def test_a_stream_is_saved_forked_and_reset(network, speech, tmp_path):
    stream = DenoiserStream(network)
    first = stream.process(speech[:7777])
    np.savez(tmp_path / "state.npz", **vars(stream.state))
    forked, saved = stream.fork(), stream.state
    went_on = stream.process(speech[7777:20000])
    np.testing.assert_array_equal(forked.process(speech[7777:20000]), went_on)
    stream.state = saved
    np.testing.assert_array_equal(stream.process(speech[7777:20000]), went_on)
    with np.load(tmp_path / "state.npz") as stored:
        fields = {name: stored[name] for name in stored.files}
    again = DenoiserStream(network)
    again.state = type(saved)(**{k: v if v.ndim else int(v) for k, v in fields.items()})
    np.testing.assert_array_equal(again.process(speech[7777:20000]), went_on)
    stream.reset()
    np.testing.assert_array_equal(stream.process(speech[:7777]), first)


def test_a_bundle_or_its_path_will_do(path, network):
    assert DenoiserStream(path).delay == DenoiserStream(bundle.read(path)).delay == 511


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (np.zeros((2, 128)), "shape"),
        (np.zeros(128, dtype=np.int16), "int16"),
        (np.zeros(100), "no multiple of 128"),
        (np.full(128, np.nan), "NaN"),
    ],
)
def test_other_chunks_are_refused_and_change_nothing(network, speech, chunk, message):
    stream = DenoiserStream(network, grid=HOP)
    stream.process(speech[: 10 * HOP])
    before = stream.state
    with pytest.raises(InputError, match=message):
        stream.process(chunk)
    for name, value in vars(before).items():
        np.testing.assert_array_equal(getattr(stream.state, name), value)


def test_nothing_in_is_the_delay_out(network):
    np.testing.assert_array_equal(DenoiserStream(network).finish(), np.zeros(511))


def test_times_are_summed_up():
    times = HopTimes()
    for _ in range(998):
        times.add(100e-6, 1)
    times.add(2 * 2e-3, 2)
    times.add(10e-3, 1)
    of = times.summary()
    assert (of["hops"], of["missed"]) == (1001, 1)
    assert of["mean_us"] == pytest.approx((998 * 100 + 4000 + 10000) / 1001)
    assert 2000 <= of["p999_us"] < 2000 * 1.06
    assert of["worst_us"] == pytest.approx(10e3)
    assert HOP_SECONDS == 0.008
    assert times.verdict(384, 0).startswith("did not keep up: 1,001 hops of 8 ms, 1 missed")


# Pipes ---------------------------------------------------------------------------------------


def pcm(samples):
    return audio.to_pcm16(samples)[0].astype("<i2").tobytes()


def wav(samples, size, extra=b"", rate=RATE, bits=16, tag=1):
    form = struct.pack("<HHIIHH", tag, 1, rate, rate * bits // 8, bits // 8, bits)
    head = b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + struct.pack("<I", len(form)) + form
    data = samples.astype("<f4").tobytes() if bits == 32 else pcm(samples)
    return head + extra + b"data" + struct.pack("<I", size) + data


def streamed(path, content, *options):
    return subprocess.run(
        [*COMMAND, "--bundle", str(path), *options], input=content, capture_output=True, timeout=120
    )


def as_whole(network, samples):
    """What ``denoise`` writes of samples that were 16-bit PCM."""
    heard = np.frombuffer(pcm(samples), dtype="<i2") / 2.0**15
    return pcm(offline(network, heard))


def test_pipes_give_what_denoise_writes(path, network, speech, tmp_path):
    samples = speech[:10_001]
    whole = as_whole(network, samples)
    statistics = tmp_path / "times.json"
    done = streamed(path, pcm(samples), "--statistics", str(statistics))
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == bytes(2 * 384) + whole
    assert json.loads(statistics.read_text())["hops"] == 79
    assert b"hops of 8 ms" in done.stderr
    aligned = streamed(path, wav(samples, 0xFFFFFFFF, b"LIST\x03\0\0\0abc\0"), "--align")
    assert aligned.stdout[:4] == b"RIFF"
    assert aligned.stdout[44:] == whole
    passed = streamed(path, pcm(samples), "--bypass", "--align")
    assert passed.stdout == pcm(samples)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"RIFF\0\0\0\0AVI ", b"no WAVE"),
        (b"RIFF\0\0\0\0WAVE", b"ends before its first sample"),
        (wav(np.zeros(9), 18, rate=44100), b"44100 Hz"),
        (wav(np.zeros(9), 18, bits=8), b"8 bits"),
        (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", b"without a format"),
        (b"RIFF\0\0\0\0WAVEAPIC\xff\xff\xff\xff", b"1 MiB"),
    ],
)
def test_what_is_no_sound_is_refused(path, content, message):
    done = streamed(path, content)
    assert done.returncode == 1
    assert message in done.stderr
    assert b"Traceback" not in done.stderr


def test_headers_say_what_samples_are():
    samples = np.linspace(-1, 0.5, 100)
    for content, exact in ((wav(samples, 200), False), (wav(samples, 400, bits=32, tag=3), True)):
        pipe = pcm_pipe.opened(io.BytesIO(content + b"trailing"), 1)
        heard = np.concatenate(list(pcm_pipe.blocks(pipe, 30)))[:, 0]
        assert len(heard) == 100  # what follows the samples is no sound
        np.testing.assert_allclose(heard, samples, atol=1e-7 if exact else 2**-15)


def test_sound_that_comes_in_its_time_goes_out_in_its_time_and_an_interrupt_ends_it(
    path, network, speech
):
    """Hop by hop: each comes back before the next is sent; then Ctrl-C, and all that is due."""
    samples = speech[: 60 * HOP]
    process = subprocess.Popen(
        [*COMMAND, "--bundle", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    heard = b""
    for first in range(0, len(samples), HOP):
        process.stdin.write(pcm(samples[first : first + HOP]))
        process.stdin.flush()
        heard += process.stdout.read(2 * HOP)  # would hang if it waited for more
        time.sleep(HOP_SECONDS)
    process.send_signal(signal.SIGINT)
    rest, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages.decode()
    assert b"Traceback" not in messages
    assert heard + rest == bytes(2 * 384) + as_whole(network, samples)


SOUND = ("pulseaudio", "pactl", "parecord", "paplay")
needs_sound = pytest.mark.skipif(
    find_spec("sounddevice") is None or any(shutil.which(name) is None for name in SOUND),
    reason="no virtual sound device (pip install sounddevice; apt install pulseaudio"
    " pulseaudio-utils libportaudio2 libasound2-plugins)",
)


@pytest.fixture
def sound(tmp_path):
    """The environment of a sound server of our own, with a microphone and ears that are virtual."""
    (tmp_path / "asound.conf").write_text(
        "</usr/share/alsa/alsa.conf>\npcm.!default { type pulse }\nctl.!default { type pulse }\n"
    )
    environment = os.environ | {
        "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PULSE_SOURCE": "mic.monitor",
        "PULSE_SINK": "ears", "ALSA_CONFIG_PATH": str(tmp_path / "asound.conf"),
        "JACK_NO_START_SERVER": "1",
    }  # fmt: skip
    modules = ["module-native-protocol-unix"]
    modules += [f"module-null-sink sink_name={name} rate={RATE}" for name in ("mic", "ears")]
    options = [part for module in modules for part in ("-L", module)]
    server = subprocess.Popen(
        ["pulseaudio", "--daemonize=no", "--exit-idle-time=-1", "-n", *options],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: b"ears" in listed(environment))
        yield environment
    finally:
        server.terminate()
        server.wait(timeout=30)
        shutil.rmtree("/dev/shm/jack_db-0", ignore_errors=True)  # PortAudio looks for JACK, too


def listed(environment):
    command = ["pactl", "list", "short", "sinks"]
    return subprocess.run(command, env=environment, capture_output=True).stdout


@needs_sound
@pytest.mark.xdist_group("lava")  # which looks at shared memory that nobody owns
def test_a_microphone_is_heard_cleaned(path, network, speech, sound, tmp_path):
    raw = ["--format=s16le", f"--rate={RATE}", "--channels=1", "--raw"]
    ears = (tmp_path / "heard.raw").open("wb")
    recorder = subprocess.Popen(["parecord", "-d", "ears.monitor", *raw], env=sound, stdout=ears)
    live = subprocess.Popen(
        [*COMMAND, "--bundle", str(path), "--live"], env=sound, stderr=subprocess.PIPE
    )
    try:
        wait_until(lambda: b"RUNNING" in listed(sound))
        time.sleep(1)
        samples = speech[: 4 * RATE]
        player = ["paplay", "--device=mic", *raw]
        subprocess.run(player, env=sound, input=pcm(samples), check=True, timeout=60)
        time.sleep(0.5)
    finally:
        live.send_signal(signal.SIGINT)
        _, messages = live.communicate(timeout=60)
        recorder.terminate()
        recorder.wait(timeout=30)
        ears.close()
    assert live.returncode == 0, messages.decode()
    assert b"hops of 8 ms" in messages
    heard = np.fromfile(tmp_path / "heard.raw", dtype="<i2").astype(float)
    wanted = np.frombuffer(as_whole(network, samples), dtype="<i2").astype(float)[RATE : 2 * RATE]
    place = int(np.argmax(scipy.signal.correlate(heard, wanted, "valid")))
    alike = np.corrcoef(heard[place : place + RATE], wanted)[0, 1]
    noisy = np.corrcoef(speech[RATE : 2 * RATE], wanted)[0, 1]
    assert alike > 0.999 > noisy  # the server converts the samples; the noisy ones are far away


def test_who_stops_listening_ends_it_quietly(path, speech):
    process = subprocess.Popen(
        [*COMMAND, "--bundle", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write(pcm(speech[:HOP]))
    process.stdin.flush()
    process.stdout.read(2 * HOP)
    process.stdout.close()
    _, messages = process.communicate(pcm(speech[: 40 * HOP]), timeout=60)
    assert process.returncode == 0
    assert b"Traceback" not in messages
    assert b"BrokenPipe" not in messages


def test_live_without_a_sound_device_is_refused(path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent / "helpers/no_sound")}
    done = subprocess.run(
        [*COMMAND, "--bundle", str(path), "--live"], capture_output=True, env=environment
    )
    assert done.returncode == 1
    assert b"sounddevice" in done.stderr
    assert b"Traceback" not in done.stderr
