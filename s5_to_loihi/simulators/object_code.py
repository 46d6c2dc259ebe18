"""Machine code of kernels: made by LLVM, which comes with numba, and kept between processes.

A kernel's file is named by a digest of its text, of the processor and of LLVM's version, and ends
with a digest of the rest: one that was cut off or damaged is as good as none. Nothing is unpickled.
A cache that cannot be read or written is none: kernels are then made again, for this process.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from s5_to_loihi.files.writing import TEMPORARY_PREFIX
from s5_to_loihi.simulators.loops import Kernel

# LLVM takes a while to import, and whoever only asks where the cache is does without.
if TYPE_CHECKING:
    from llvmlite.binding import ExecutionEngine, ModuleRef, TargetMachine

#: Where machine code is kept; by default below the user's cache directory.
CACHE_VARIABLE = "S5_TO_LOIHI_CACHE"
#: What files in the cache begin and end with.
PREFIX, SUFFIX, PTX_SUFFIX = "kernels_", ".o", ".ptx"
#: For which GPUs PTX is made: those of this compute capability, and all later ones.
TRIPLE, CAPABILITY = "nvptx64-nvidia-cuda", "sm_75"
#: Change it if the same text has to become other machine code: other passes, say.
_RECIPE = 1
_DIGEST_BYTES = hashlib.sha256().digest_size


def cache_directory() -> Path:
    """Return where machine code is kept: a directory that belongs to the user alone."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "s5_to_loihi"


def addresses(kernels: list[Kernel]) -> dict[Kernel, int]:
    """Return where in memory the machine code of kernels is; it stays there."""
    from llvmlite.binding import ObjectFileRef

    with _LOCK:
        new = [kernel for kernel in dict.fromkeys(kernels) if kernel not in _KNOWN]
        if new:
            engine = _engine()
            names = {kernel: _name(kernel) for kernel in new}
            for kernel, name in names.items():
                code = ObjectFileRef.from_data(_object_code(kernel, name))
                engine.add_object_file(code)
            engine.finalize_object()
            for kernel, name in names.items():
                _KNOWN[kernel] = engine.get_function_address(name)
    return {kernel: _KNOWN[kernel] for kernel in kernels}


_LOCK = threading.Lock()
_KNOWN: dict[Kernel, int] = {}


def _object_code(kernel: Kernel, name: str) -> bytes:
    return _kept(f"{name}{SUFFIX}", lambda: compiled(kernel, name))


def ptx(text: str) -> tuple[bytes, str]:
    """Return a kernel's text as PTX for NVIDIA's GPUs, and the kernel's name in it."""
    import llvmlite

    described = (str(_RECIPE), TRIPLE, CAPABILITY, llvmlite.__version__, text)
    name = f"{PREFIX}{hashlib.sha256(chr(10).join(described).encode()).hexdigest()[:32]}"
    with _LOCK:
        return _kept(f"{name}{PTX_SUFFIX}", lambda: _translated(text, name)), name


def _translated(text: str, name: str) -> bytes:
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    target = binding.Target.from_triple(TRIPLE).create_target_machine(cpu=CAPABILITY, opt=3)
    return target.emit_assembly(_optimised(text, name, target, vectors=False)).encode()


def _kept(file: str, make: Callable[[], bytes]) -> bytes:
    """Return what a file of the cache holds; make it if there is none."""
    try:
        directory = cache_directory()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(directory, os.W_OK):  # somebody else's
            raise PermissionError(directory)
    except (OSError, RuntimeError):  # no home, or none to write to
        return make()
    path = directory / file
    code = _read(path)
    if code is None:
        code = make()
        _keep(path, code)
    return code


def _read(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    code, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None


def _keep(path: Path, code: bytes) -> None:
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=TEMPORARY_PREFIX) as temporary:
            written = Path(temporary, path.name)
            written.write_bytes(code + hashlib.sha256(code).digest())
            os.replace(written, path)
    except OSError:  # a full disk, say
        pass


def _name(kernel: Kernel) -> str:
    digest = hashlib.sha256("\n".join((*_machine(), kernel.text)).encode())
    return f"{PREFIX}{digest.hexdigest()[:32]}"


@functools.cache
def _machine() -> tuple[str, ...]:
    """Return what machine code depends on, besides a kernel's text."""
    import llvmlite
    from llvmlite import binding

    return (
        str(_RECIPE),
        binding.get_process_triple(),
        binding.get_host_cpu_name(),
        binding.get_host_cpu_features().flatten(),
        llvmlite.__version__,
    )


def _target() -> TargetMachine:
    """Return this processor, for which code is made."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    _, triple, cpu, features, _ = _machine()
    target = binding.Target.from_triple(triple)
    return target.create_target_machine(cpu=cpu, features=features, opt=3, jit=True)


@functools.cache
def _engine() -> ExecutionEngine:
    from llvmlite import binding

    return binding.create_mcjit_compiler(binding.parse_assembly(""), _target())


def compiled(kernel: Kernel, name: str) -> bytes:
    """Return the machine code of a kernel for this processor, as an object file."""
    target = _target()
    return target.emit_object(_optimised(kernel.text, name, target, vectors=True))


def _optimised(text: str, name: str, target: TargetMachine, vectors: bool) -> ModuleRef:
    """Return a kernel's text after LLVM's passes; ``vectors``: loops become vector code."""
    from llvmlite import binding

    module = binding.parse_assembly(text.replace("NAME", name))
    module.triple = target.triple
    module.data_layout = str(target.target_data)
    tuning = binding.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = tuning.slp_vectorization = vectors
    passes = binding.create_pass_builder(target, tuning)
    passes.getModulePassManager().run(module, passes)
    return module
