"""Mutates valid files and reads them: every reader answers with a value or with our own error.

    python tests/helpers/fuzz.py --cases 100000
    python tests/helpers/fuzz.py --readers npz,wav --cases 2000 --seed 7
    python tests/helpers/fuzz.py --readers bundle --only 1234 --keep /tmp/case

A case is told by reader, seed and number, so that it can be made again (``--only``). Cases are
read in child processes with a limit of memory; a child that dies, or a case that takes more than
10 s or 1 GB, is a finding too. Files are mutated as bytes, and as what they hold: entries of
archives, values of JSON, headers of tensors, with digests made good again, so that mutations get
past the first check.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
CHECKPOINTS = DATA / "checkpoints"
PACKAGE = ROOT / "s5_to_loihi"
SECONDS, MEGABYTES = 10, 1000
#: Beyond this a child cannot go: what asks for more gets a MemoryError.
ADDRESS_SPACE = 6 << 30
#: Cases that one child reads.
BATCH = 250

INTERESTING = (
    b"0", b"-1", b"1e308", b"1e-300", b"NaN", b"99999999999", b"9223372036854775808", b"null",
    b"true", b"[]", b"{}", b'""', b'"../../x"', b'"\\ud800"', b'"\\u001b[2J"', b"*a", b"&a [*a]",
    b"!!timestamp x", b"1:59:59", b"\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"(", b"\x1b",
)  # fmt: skip


class Failure(NamedTuple):
    """A case that ended in something else than a value or our own error."""

    reader: str
    number: int
    what: str


# --- mutation ------------------------------------------------------------------------------------


def mutated_bytes(content: bytes, dice: random.Random, other: bytes = b"") -> bytes:
    """Flip bits, cut, splice, repeat or put in something interesting, a few times."""
    data = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 4, 8))):
        if not data:
            break
        place = dice.randrange(len(data))
        kind = dice.randrange(8)
        if kind <= 1:
            data[place] ^= 1 << dice.randrange(8)
        elif kind == 2:
            data[place] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        elif kind == 3:
            del data[place : place + dice.choice((1, 4, 64, len(data)))]
        elif kind == 4:
            source = other or content
            start = dice.randrange(max(1, len(source)))
            piece = source[start : start + dice.choice((1, 4, 16, 256))]
            data[place : place + dice.choice((0, len(piece)))] = piece
        elif kind == 5:
            data[place:place] = data[place : place + dice.choice((1, 8, 128))] * dice.choice((1, 9))
        elif kind == 6:
            end = place
            while end < len(data) and data[end : end + 1].isalnum():
                end += 1
            data[place:end] = dice.choice(INTERESTING)
        else:
            number = dice.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**40))
            size = dice.choice((1, 2, 4, 8))
            value = (number % (1 << 8 * size)).to_bytes(size, dice.choice(("little", "big")))
            data[place : place + size] = value
    return bytes(data)


_VALUES: tuple[Any, ...] = (
    0, 1, -1, 2**31, 2**63, -(2**63), 10**30, 1.5, 1e-300, float("inf"), True, None, "", "4", "a/b",
    "../../../x", "/etc/x", "\ud800", "\x1b[2J", "x" * 5000, [], {}, [[]], [1, 2, 3], {"a": 1},
)  # fmt: skip


def mutated_tree(tree: Any, dice: random.Random) -> Any:
    """Change, delete, double or exchange values of nested lists and dictionaries."""
    tree = json.loads(json.dumps(tree))
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        places = [(tree, key) for key in _keys(tree)]
        for holder, key in places:
            if len(places) > 20_000:
                break
            places.extend((holder[key], below) for below in _keys(holder[key]))
        if not places:
            return tree
        holder, key = dice.choice(places)
        if not isinstance(holder, (dict, list)) or key not in list(_keys(holder)):
            continue
        kind = dice.randrange(6)
        if kind <= 1:
            holder[key] = json.loads(json.dumps(dice.choice(_VALUES)))
        elif kind == 2 and isinstance(holder[key], int) and not isinstance(holder[key], bool):
            holder[key] += dice.choice((-1, 1, 7, -holder[key] * 2, 1 << 20))
        elif kind == 3:
            del holder[key]
        elif kind == 4:
            source, name = dice.choice(places)
            with contextlib.suppress(KeyError, IndexError, ValueError):
                holder[key] = json.loads(json.dumps(source[name]))
        elif isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        else:
            holder[f"{key}{dice.choice(('', 'x', '/..', '.', ' '))}"] = holder.pop(key)
    return tree


def _keys(tree: Any) -> list:
    if isinstance(tree, dict):
        return list(tree)
    return list(range(len(tree))) if isinstance(tree, list) else []


def mutated_zip(content: bytes, dice: random.Random) -> bytes:
    """Mutate an entry, or what is said of it, and write the archive anew, checksums and all."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    packed = io.BytesIO()
    chosen = dice.randrange(len(entries))
    with zipfile.ZipFile(packed, "w") as archive:
        for place, (info, data) in enumerate(entries):
            name, method = info.filename, info.compress_type
            if place == chosen:
                kind = dice.randrange(4)
                if kind == 0:
                    name = dice.choice(
                        (f"../{name}", f"/{name}", name[:-1], "x", entries[0][0].filename)
                    )
                elif kind == 1:
                    method = dice.choice(
                        (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
                    )
                else:
                    data = mutated_bytes(data, dice, entries[dice.randrange(len(entries))][1])
            with contextlib.suppress(UserWarning):
                archive.writestr(zipfile.ZipInfo(name), data, method)
    return packed.getvalue()


def mutated_safetensors(content: bytes, dice: random.Random) -> bytes:
    """Mutate the header or a tensor of a safetensors file, with lengths that fit."""
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    if dice.random() < 0.6:
        header = mutated_tree(header, dice)
    else:
        data = mutated_bytes(data, dice)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def mutated_file(path: Path, dice: random.Random, other: bytes) -> bytes:
    """Mutate a file as bytes or as what it holds."""
    content = path.read_bytes()
    if dice.random() < 0.5:
        with contextlib.suppress(Exception):
            if content.startswith(b"PK\x03\x04"):
                return mutated_zip(content, dice)
            if path.suffix == ".safetensors":
                return mutated_safetensors(content, dice)
            if path.suffix == ".json":
                return json.dumps(mutated_tree(json.loads(content), dice)).encode()
            if path.suffix == ".yaml":
                import yaml

                return yaml.safe_dump(mutated_tree(yaml.safe_load(content), dice)).encode()
    return mutated_bytes(content, dice, other)


# --- readers -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """What is read.

    Attributes:
        files: makes valid files in a folder and returns the path that is read, one or several.
        read: reads a path.
        mend: makes digests right again after a file was mutated.
    """

    files: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    mend: Callable[[Path], None] = lambda path: None


def _copies(*sources: Path) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        paths = []
        for source in sources:
            target = folder / source.name
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
            paths.append(target)
        return paths

    return make


def _bundles(folder: Path) -> list[Path]:
    paths = _copies(*sorted((DATA / "bundles").iterdir()))(folder)
    from s5_to_loihi import bundle
    from s5_to_loihi.loihi2.mapper import map_network
    from s5_to_loihi.loihi2.rates import assumed_rates

    opened = bundle.read(paths[1])
    mapping, _ = map_network(opened.network, assumed_rates(opened.network, 1.0))
    bundle.write(bundle.Bundle(opened.network, opened.vectors, {}, ("a",), mapping), folder / "m")
    return [*paths, folder / "m"]


def _mend_bundle(path: Path) -> None:
    """Make a bundle's digests right again, as one who means harm would."""
    from safetensors.numpy import load_file

    from s5_to_loihi.bundle import storage

    file = path / storage.MANIFEST
    manifest = json.loads(file.read_bytes())
    for name in list(manifest["tensors"]):
        tensors = load_file(path / name)
        manifest["tensors"][name] = {key: storage._digest(value) for key, value in tensors.items()}
    manifest["digest"] = storage._manifest_digest(manifest)
    file.write_text(json.dumps(manifest))


def _read_bundle(path: Path) -> None:
    from s5_to_loihi import bundle
    from s5_to_loihi.network.text import to_text
    from s5_to_loihi.verification import verify_interpreter

    opened = bundle.read(path)
    to_text(opened.network)
    if opened.vectors is not None:
        verify_interpreter(opened.network, opened.vectors.first(6))


def _read_checkpoint(path: Path) -> None:
    from s5_to_loihi.checkpoints.loading import load

    load(path)


def _own(folder: Path) -> list[Path]:
    from s5_to_loihi.checkpoints.description import save_model
    from s5_to_loihi.checkpoints.loading import load

    save_model(load(CHECKPOINTS / "s5_flax_gelu.msgpack").model, folder / "own")
    return [folder / "own"]


def _export(folder: Path) -> list[Path]:
    from intel_exports import small_trees, write_files

    return [write_files(folder / "export", small_trees())]


def _read_export(path: Path) -> None:
    from s5_to_loihi.compiler import compile_export

    compile_export(path)


def _precision(folder: Path) -> list[Path]:
    path = folder / "precision.yaml"
    text = "weights: 8\nactivations: 16\nknots: 64\noverrides: {encoder.weight: 6, '*.C': 4}\n"
    path.write_text(text)
    return [path]


def _read_precision(path: Path) -> None:
    from s5_to_loihi.quantization.precision import read_precision

    precision = read_precision(path, {})
    precision.weight("encoder.weight")
    precision.bits("activation", "block0.hidden")


def _read_plan(path: Path) -> None:
    from s5_to_loihi.sweeping.plan import read_plan

    read_plan(path).points()


def _systems(folder: Path) -> list[Path]:
    shutil.copyfile(PACKAGE / "loihi2" / "loihi2.yaml", folder / "loihi2.yaml")
    path = folder / "system.yaml"
    text = (PACKAGE / "loihi2" / "kapohopoint.yaml").read_text()
    path.write_text(text.replace("chip: loihi2\n", "chip: loihi2.yaml\n"))
    return [path, folder / "loihi2.yaml"]


def _read_system(path: Path) -> None:
    from s5_to_loihi.loihi2.facts import load_system

    load_system(path.parent / "system.yaml")


def _measured(folder: Path) -> list[Path]:
    from s5_to_loihi.backends import measured

    profile = measured.MeasuredProfile(
        "board", "net", "0" * 64, "pipelined", 3, 9, 1.5, {"host": "a"},
        measured.StepTimes(1.0, None, 2.0, None, 9),
        measured.Power("board", 1.0, None, {"vdd": 0.5}, 9),
        (measured.CoreActivity(0, 1, 2, None, 3, 4),),
    )  # fmt: skip
    measured.write_measured(profile, folder / "measured.json")
    return [folder / "measured.json"]


def _read_measured(path: Path) -> None:
    from s5_to_loihi.backends.measured import read_measured

    read_measured(path)


def _wavs(folder: Path) -> list[Path]:
    import numpy as np
    from scipy.io import wavfile

    tone = np.sin(np.arange(800) / 7)
    wavfile.write(folder / "a.wav", 16_000, (tone * 20_000).astype(np.int16))
    wavfile.write(folder / "b.wav", 8_000, np.stack([tone, tone], 1).astype(np.float32))
    return [folder / "a.wav", folder / "b.wav"]


def _read_wav(path: Path) -> None:
    from s5_to_loihi import audio

    audio.resample(audio.read_wav(path))


def _arrays(folder: Path) -> list[Path]:
    import numpy as np

    values = np.arange(60, dtype=np.int16).reshape(20, 3)
    np.save(folder / "a.npy", values)
    np.savez_compressed(folder / "b.npz", x=values.astype(np.float32))
    np.savez(folder / "c.npz", x=values)
    return [folder / name for name in ("a.npy", "b.npz", "c.npz")]


def _read_array(path: Path) -> None:
    import numpy as np

    from s5_to_loihi.simulation import read_array

    np.array(read_array(path))


def _labelled(folder: Path) -> list[Path]:
    import numpy as np

    inputs = np.zeros((4, 2, 3), dtype=np.int16)
    targets = np.zeros((4, 2, 2), dtype=np.float32)
    classes = np.array(["a", "b"])
    np.savez(folder / "set.npz", inputs=inputs, targets=targets, lengths=[4, 3], classes=classes)
    return [folder / "set.npz"]


def _read_labelled(path: Path) -> None:
    from s5_to_loihi import bundle
    from s5_to_loihi.evaluation import labelled

    labelled.read(path, bundle.read(DATA / "bundles" / "version1_quantized").network)


def _archives(folder: Path) -> list[Path]:
    import tarfile

    path = folder / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("result/outputs.npy", "result/measured.json"):
            entry = tarfile.TarInfo(name)
            entry.size = 300
            archive.addfile(entry, io.BytesIO(bytes(300)))
    return [path]


def _read_archive(path: Path) -> None:
    from s5_to_loihi.deployment.unpacking import UnpackingError, unpack

    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(UnpackingError):
            unpack(io.BytesIO(path.read_bytes()), Path(folder) / "to", 1 << 20)
        assert {one.name for one in Path(folder).iterdir()} <= {"to"}


def _pairs(folder: Path) -> list[Path]:
    _wavs(folder)
    (folder / "pairs.csv").write_text("noisy,clean,name\na.wav,b.wav,x\nb.wav,,y\n")
    return [folder / "pairs.csv"]


def _read_pairs(path: Path) -> None:
    from s5_to_loihi.evaluation.pairs import from_csv

    from_csv(path)


def _one_of(pattern: str) -> Callable[[Path], list[Path]]:
    return _copies(*sorted(CHECKPOINTS.glob(pattern)))


def _netx(folder: Path) -> list[Path]:
    import netx_files

    return [
        netx_files.write(folder / f"{name}.net", netx_files.CASES[name]().layers)
        for name in ("sdnn_delays", "sdnn_convolution", "recurrent_reset")
    ]


def _read_netx(path: Path) -> None:
    from s5_to_loihi import netx
    from s5_to_loihi.netx.lower import lower

    options = netx.NetxOptions()
    lower(netx.read(path, options), options, "changed")


READERS = {
    "bundle": Reader(_bundles, _read_bundle, _mend_bundle),
    "bundle as it is": Reader(_bundles, _read_bundle),
    "own": Reader(_own, _read_checkpoint),
    "safetensors": Reader(_one_of("*.safetensors"), _read_checkpoint),
    "npz": Reader(_one_of("intel_*[!s].npz"), _read_checkpoint),
    "pt": Reader(_one_of("*.pt"), _read_checkpoint),
    "msgpack": Reader(_one_of("s5_flax_[gp]*.msgpack"), _read_checkpoint),
    "conversion": Reader(_one_of("*_conversion"), _read_checkpoint),
    "orbax": Reader(_one_of("*_orbax"), _read_checkpoint),
    "export": Reader(_export, _read_export),
    "precision": Reader(_precision, _read_precision),
    "sweep": Reader(_copies(ROOT / "examples" / "sweep.yaml"), _read_plan),
    "system": Reader(_systems, _read_system),
    "measured": Reader(_measured, _read_measured),
    "wav": Reader(_wavs, _read_wav),
    "arrays": Reader(_arrays, _read_array),
    "labelled": Reader(_labelled, _read_labelled),
    "archive": Reader(_archives, _read_archive),
    "pairs": Reader(_pairs, _read_pairs),
    "netx": Reader(_netx, _read_netx),
}


# --- one case ------------------------------------------------------------------------------------


def make_case(reader: Reader, valid: Path, folder: Path, name: str) -> Path:
    """Copy valid files into a folder, mutate one, and return the path to read."""
    digest = hashlib.sha256(name.encode()).digest()
    dice = random.Random(int.from_bytes(digest[:8], "little"))
    shutil.copytree(valid, folder, dirs_exist_ok=True)
    # The paths to read are listed in a file beside the valid ones.
    paths = json.loads((valid.parent / "paths.json").read_text())
    path = folder / dice.choice(paths)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    chosen = dice.choice(files)
    other = dice.choice(files).read_bytes()
    chosen.write_bytes(mutated_file(chosen, dice, other))
    with contextlib.suppress(Exception):
        reader.mend(path)
    return path


class _Late(BaseException):
    """A case takes too long."""


def _late(*_: object) -> None:
    raise _Late


def read_case(reader: Reader, path: Path) -> str | None:
    """Read a path; return what is wrong with how it ends, None if nothing is."""
    from s5_to_loihi.errors import S5ToLoihiError

    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory starts anew
    before = _peak()
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(SECONDS)
    try:
        reader.read(path)
    except S5ToLoihiError as error:
        if not str(error).strip() or len(str(error)) > 3000 or "\x1b" in str(error):
            return f"a message of {len(str(error))} characters: {str(error)[:80]!r}"
    except _Late:
        return f"more than {SECONDS} s\n{traceback.format_exc(limit=-3)}"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[-3:]
        places = " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in reversed(frames))
        return f"{type(error).__name__} at {places}: {str(error)[:120]}"
    finally:
        signal.alarm(0)
    if _peak() - before > MEGABYTES:
        return f"{_peak() - before} MB"
    return None


def _peak() -> int:
    """Return the peak of this process's memory in MB."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


# --- many cases ----------------------------------------------------------------------------------


def prepare(reader: Reader, folder: Path) -> Path:
    """Make a reader's valid files below a folder, check that they are; return where they lie."""
    valid = folder / "valid"
    valid.mkdir(parents=True)
    paths = reader.files(valid)
    for path in paths:
        reader.read(path)
    names = [str(path.relative_to(valid)) for path in paths]
    (folder / "paths.json").write_text(json.dumps(names))
    return valid


def fuzz(name: str, cases: range, seed: int, folder: Path) -> Iterator[Failure]:
    """Read the cases of one reader; yields the failures."""
    reader = READERS[name]
    valid = folder / name.replace(" ", "_") / "valid"
    # In a child as well: libraries with threads of their own do not survive a fork.
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare(reader, valid.parent)
            code = 0
        except Exception:
            traceback.print_exc()
        os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        yield Failure(name, -1, "the valid files cannot be read")
        return
    numbers = list(cases)
    while numbers:
        batch, numbers = numbers[:BATCH], numbers[BATCH:]
        found, done = _in_child(reader, name, valid, batch, seed)
        yield from found
        if done < len(batch):
            yield Failure(name, batch[done], "the process died")
            numbers = batch[done + 1 :] + numbers


def _in_child(
    reader: Reader, name: str, valid: Path, batch: list[int], seed: int
) -> tuple[list[Failure], int]:
    """Read a batch in a forked process; returns its failures, and how many cases it finished."""
    log = valid.parent / "log"
    log.write_bytes(b"")
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, 1)
            os.dup2(devnull, 2)
            for number in batch:
                with tempfile.TemporaryDirectory(dir=valid.parent) as case:
                    path = make_case(reader, valid, Path(case), f"{name}/{seed}/{number}")
                    what = read_case(reader, path)
                with log.open("a") as file:
                    file.write(json.dumps([number, what]) + "\n")
            code = 0
        os._exit(code)
    _wait(child, log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [Failure(name, number, what) for number, what in lines if what], len(lines)


def _wait(child: int, log: Path) -> None:
    """Wait for a child; one that hangs where no alarm reaches it is killed."""
    last, seen = time.monotonic(), 0
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        size = log.stat().st_size
        if size != seen:
            last, seen = time.monotonic(), size
        elif time.monotonic() - last > 6 * SECONDS:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)


def main() -> int:
    """Fuzz readers as the command line says; returns the exit code."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--cases", type=int, default=1000, help="of each reader")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--readers", default=",".join(READERS))
    options.add_argument("--only", type=int, help="the number of one case")
    options.add_argument("--keep", type=Path, help="folder for the one case")
    given = options.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in given.readers.split(","):
            if given.only is not None:
                reader = READERS[name]
                valid = prepare(reader, Path(folder) / "one")
                keep = given.keep or Path(folder) / "case"
                path = make_case(reader, valid, keep, f"{name}/{given.seed}/{given.only}")
                print(path, read_case(reader, path))
                continue
            started, kinds = time.monotonic(), dict[str, Failure]()
            for failure in fuzz(name, range(given.cases), given.seed, Path(folder)):
                wrong += 1
                if kinds.setdefault(failure.what.partition(": ")[0], failure) is failure:
                    print(f"{name}, case {failure.number}: {failure.what}", flush=True)
            seconds = time.monotonic() - started
            print(
                f"{name}: {given.cases:,} cases in {seconds:.0f} s, {wrong} wrong so far",
                flush=True,
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
