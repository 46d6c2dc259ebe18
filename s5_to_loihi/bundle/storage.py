"""The on-disk artifact: one directory with a network and the vectors that prove it.

``manifest.json`` holds the graph, formats, provenance and a digest of every tensor;
``weights.safetensors`` and ``vectors.safetensors`` hold the integers, ``mapping.safetensors``, if
the network was mapped, the cores. The same network gives the same bytes. Described in
``docs/bundle.md``.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file
from scipy.sparse import csr_matrix

from s5_to_loihi.bundle import core_mapping
from s5_to_loihi.bundle.core_mapping import CoreMapping
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.bundle.vectors import check as check_vectors
from s5_to_loihi.described import Described
from s5_to_loihi.errors import BundleError, CapacityError, NetworkError
from s5_to_loihi.files.names import is_text
from s5_to_loihi.files.reading import read_json
from s5_to_loihi.files.tensors import read_safetensors
from s5_to_loihi.files.writing import exchange
from s5_to_loihi.fixed_point import Format
from s5_to_loihi.network.network import (
    Endpoint,
    Network,
    NeuronGroup,
    Readout,
    Synapses,
    frozen_weights,
)
from s5_to_loihi.network.neurons import VARIABLE, known_kinds
from s5_to_loihi.network.neurons.constants import Table, declared_fields
from s5_to_loihi.network.verifier import storage_is_sound, verify
from s5_to_loihi.passes.check_ranges import CheckRanges
from s5_to_loihi.version import VERSION

SCHEMA = "s5_to_loihi bundle"
SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
VECTORS = "vectors.safetensors"
MAPPING = "mapping.safetensors"
#: What a bundle that is being replaced is called meanwhile, where two names cannot be exchanged.
_OLD = "old"
#: What the manifest says of a mapping.
_MAPPING_FIELDS = ("system", "cores_per_chip", "objective", "seed", "rates", "timestep")
#: A manifest is text about a graph; more than this is no manifest.
LARGEST_MANIFEST = 64 << 20
#: Bytes of a file of tensors.
LARGEST_TENSORS = 4 << 30
#: Characters of a note, or of what a bundle says of its source.
LONGEST_TEXT = 100_000
#: What a manifest that is not as it was written makes its reader raise.
_DAMAGE = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)


@dataclass(frozen=True, eq=False, repr=False)
class Bundle(Described):
    """A compiled network with what belongs to it.

    Attributes:
        network: verified.
        vectors: recorded integers to verify it with; None if there are none.
        source: where it was compiled from: format, name, digest of the files.
        notes: what the compiler found out, guessed or recomputed.
        mapping: onto the cores of a system; None if it was not mapped.
        changed: tensors that are not what was written (only from ``read(..., lenient=True)``).

    Examples:
        >>> bundle = s5.read("denoiser.bundle")
        >>> bundle.network.input_size, bundle.network.latency
        (257, 14)
        >>> bundle.vectors.tokens.shape  # tokens, sequences, features
        (100, 2, 257)
    """

    network: Network
    vectors: Vectors | None
    source: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    mapping: CoreMapping | None = None
    changed: tuple[str, ...] = ()

    def _described(self) -> tuple[str, dict[str, str]]:
        title, _ = self.network._described()
        made = self.source.get("format", "unknown")
        held = "none"
        if self.vectors is not None:
            tokens, sequences = self.vectors.tokens.shape[:2]
            held = f"{sequences:,} x {tokens:,} tokens"
        mapped = "none"
        if self.mapping is not None:
            cores = len(set().union(*(set(one.tolist()) for one in self.mapping.cores.values())))
            mapped = f"{cores:,} cores of {self.mapping.system}"
        return f"Bundle of {title[:1].lower()}{title[1:]}", {
            "made from": made,
            "vectors, mapping": f"{held}; {mapped}",
        }


def opened(source: Bundle | str | os.PathLike[str]) -> Bundle:
    """Return a bundle as it is, or the one at a path."""
    return source if isinstance(source, Bundle) else read(source)


def network_of(source: Network | Bundle | str | os.PathLike[str]) -> Network:
    """Return a network as it is, or that of a bundle or of the bundle at a path."""
    return source if isinstance(source, Network) else opened(source).network


# --- writing -------------------------------------------------------------------------------------


def write(bundle: Bundle, path: str | os.PathLike[str]) -> None:
    """Write a bundle directory, whole or not at all.

    A bundle that is already there is replaced, where a link leads to it too; anything else is left
    alone.

    Raises:
        BundleError: the path is taken by something else, or cannot be written.

    Examples:
        >>> s5.write(bundle, "copy.bundle")
        >>> s5.read("copy.bundle").network.latency == bundle.network.latency
        True
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not _is_bundle(path):
        raise BundleError(
            str(path), "exists and is not a bundle", "Choose another name or remove it"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise BundleError(str(path), f"cannot be written ({error.strerror})") from None
    try:
        _write_files(bundle, temporary / "new")
        if not path.exists():
            os.rename(temporary / "new", path)
        elif not exchange(temporary / "new", path):
            os.rename(path, temporary / _OLD)
            os.rename(temporary / "new", path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BundleError(
            str(path), f"cannot be written ({reason})", "Free some space, or choose another place"
        ) from None
    finally:
        # Also after an interrupt between the two renames.
        if (temporary / _OLD).exists() and not path.exists():
            os.rename(temporary / _OLD, path)
        shutil.rmtree(temporary, ignore_errors=True)


def _is_bundle(path: Path) -> bool:
    """Tell a bundle, damaged or not, from another program's directory with a manifest."""
    if not (path / MANIFEST).is_file():
        return False
    try:
        manifest = read_json(path / MANIFEST, largest=LARGEST_MANIFEST, error=BundleError)
    except BundleError:
        return (path / WEIGHTS).is_file()
    return isinstance(manifest, dict) and manifest.get("schema") == SCHEMA


def _write_files(bundle: Bundle, directory: Path) -> None:
    directory.mkdir()
    weights: dict[str, np.ndarray] = {}
    graph = _network_to_json(bundle.network, weights)
    vectors, vector_tensors = _vectors_to_json(bundle.vectors)
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "tool_version": VERSION,
        "source": dict(bundle.source),
        "notes": list(bundle.notes),
        "network": graph,
        "vectors": vectors,
        "tensors": {WEIGHTS: _digests(weights), VECTORS: _digests(vector_tensors)},
    }
    files = [(WEIGHTS, weights), (VECTORS, vector_tensors)]
    if bundle.mapping is not None:
        manifest["mapping"], cores = _mapping_to_json(bundle.mapping)
        manifest["tensors"][MAPPING] = _digests(cores)
        files.append((MAPPING, cores))
    manifest["digest"] = _manifest_digest(manifest)
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
    (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")
    for name, tensors in files:
        save_file(tensors, directory / name)
        # safetensors makes files that nobody else may read.
        shutil.copymode(directory / MANIFEST, directory / name)


def _network_to_json(network: Network, tensors: dict[str, np.ndarray]) -> dict:
    return {
        "name": network.name,
        "input": {"size": network.input_size, "format": network.input_format},
        "output": str(network.output),
        "readout": network.readout.value,
        "sequence_length": network.sequence_length,
        "groups": [
            {
                "name": group.name,
                "kind": group.kind.name,
                "size": group.size,
                "phase": group.phase,
                "constants": _constants_to_json(group.constants, group.name, tensors),
                "formats": dict(group.formats),
                "port_exponents": dict(group.port_exponents),
                **_times_to_json(group, tensors),
            }
            for group in network.groups
        ],
        "synapses": [_synapses_to_json(synapses, tensors) for synapses in network.synapses],
    }


def _times_to_json(group: NeuronGroup, tensors: dict[str, np.ndarray]) -> dict:
    """Return what few groups have: what waits, and updates before the first token."""
    entries: dict[str, Any] = {}
    if group.waits:
        entries["waits"] = sorted(group.waits)
        tensors |= {f"{group.name}/waits/{p}": _narrow(a) for p, a in group.waits.items()}
    if group.early:
        entries["early"] = group.early
    return entries


def _constants_to_json(constants: tuple, prefix: str, tensors: dict[str, np.ndarray]) -> dict:
    encoded = {}
    for declared in declared_fields(type(constants)):
        name, value = declared.name, getattr(constants, declared.name)
        key = f"{prefix}/{name}"
        if declared.is_array:
            tensors[key] = _narrow(value)
        elif declared.is_nested:
            encoded[name] = _constants_to_json(value, key, tensors)
        else:
            encoded[name] = value
    return encoded


def _synapses_to_json(synapses: Synapses, tensors: dict[str, np.ndarray]) -> dict:
    for part in ("data", "indices", "indptr"):
        tensors[f"{synapses.name}/{part}"] = np.ascontiguousarray(getattr(synapses.weights, part))
    return {
        "name": synapses.name,
        "source": str(synapses.source),
        "target": str(synapses.target),
        "shape": list(synapses.weights.shape),
        "exponent": synapses.exponent,
        "delay": synapses.delay,
        **({} if synapses.product_bits is None else {"product_bits": synapses.product_bits}),
    }


def _vectors_to_json(vectors: Vectors | None) -> tuple[dict | None, dict[str, np.ndarray]]:
    if vectors is None:
        return None, {}
    tensors = {"tokens": _narrow(vectors.tokens)}
    tensors |= {f"expected/{name}": _narrow(data) for name, data in vectors.expected.items()}
    recorded_as = {name: list(names) for name, names in vectors.recorded_as.items()}
    return {"origin": vectors.origin, "recorded_as": recorded_as}, tensors


def _mapping_to_json(mapping: CoreMapping) -> tuple[dict, dict[str, np.ndarray]]:
    fields = {name: getattr(mapping, name) for name in _MAPPING_FIELDS}
    return fields, {name: _narrow(cores) for name, cores in mapping.cores.items()}


def _narrow(array: np.ndarray) -> np.ndarray:
    """Store integers in the smallest signed type that holds them."""
    for dtype in (np.int8, np.int16, np.int32):
        information = np.iinfo(dtype)
        if array.size == 0 or (information.min <= array.min() and array.max() <= information.max):
            return np.ascontiguousarray(array, dtype=dtype)
    return np.ascontiguousarray(array, dtype=np.int64)


def _digests(tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {name: _digest(array) for name, array in tensors.items()}


def _digest(array: np.ndarray) -> str:
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()


def _manifest_digest(manifest: Mapping) -> str:
    content = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# --- reading -------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str], lenient: bool = False) -> Bundle:
    """Read a bundle and check all of it.

    Args:
        path: the directory.
        lenient: accept tensors whose digest is wrong and list them in ``changed``, so that a
            verification can say what the change does.

    Raises:
        BundleError: not a bundle, of a newer version, damaged or changed.

    Examples:
        >>> s5.read("denoiser.bundle").network.input_size
        257
    """
    path = Path(path)
    manifest = _read_manifest(path)
    try:
        weights, changed = _read_tensors(path, WEIGHTS, manifest, lenient)
        vector_tensors, changed_vectors = _read_tensors(path, VECTORS, manifest, lenient)
        graph = _of_this_version(manifest)
        for unknown in {group["kind"] for group in graph["groups"]} - set(known_kinds()):
            what = f"has neurons of the kind {unknown!r:.60}, which is not known here"
            raise BundleError(str(path), what, f"Name it in the environment variable {VARIABLE}")
        network = _network_from_json(graph, weights)
        verify(network)
        CheckRanges()(network)
        vectors = _vectors_from_json(manifest["vectors"], vector_tensors)
        if vectors is not None:
            check_vectors(network, vectors)
        mapping = None
        if "mapping" in manifest:
            cores, changed_cores = _read_tensors(path, MAPPING, manifest, lenient)
            mapping = _mapping_from_json(manifest["mapping"], cores)
            core_mapping.check(network, mapping)
            changed += changed_cores
        return Bundle(
            network=network,
            vectors=vectors,
            source={_text(name): _text(value) for name, value in manifest["source"].items()},
            notes=tuple(map(_text, manifest["notes"])),
            mapping=mapping,
            changed=changed + changed_vectors,
        )
    except (NetworkError, CapacityError) as error:
        raise BundleError(str(path), f"is damaged ({error})", "Compile it again") from None
    except _DAMAGE as error:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise BundleError(str(path), f"is damaged ({reason})", "Compile it again") from None


def digest(path: str | os.PathLike[str]) -> str:
    """Return the digest of a bundle's manifest, which covers all of the bundle.

    Raises:
        BundleError: not a bundle, of a newer version, damaged or changed.
    """
    return _read_manifest(Path(path))["digest"]


def _read_manifest(path: Path) -> dict:
    file = path / MANIFEST
    if not file.exists():
        what = "does not exist" if not path.exists() else f"is not a bundle: it has no {MANIFEST}"
        do = "Make one with 's5-to-loihi compile EXPORT_DIR -o BUNDLE'"
        for old in () if path.exists() else path.parent.glob(f".{path.name}.*/{_OLD}/{MANIFEST}"):
            do = f"It was being replaced when that was killed: rename {old.parent} to it"
        raise BundleError(str(path), what, do)
    manifest = read_json(
        file, largest=LARGEST_MANIFEST, error=BundleError, if_damaged="Compile it again"
    )
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise BundleError(str(file), "is not a manifest of s5_to_loihi", "Give a bundle directory")
    version = manifest.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise BundleError(
            str(file),
            f"has schema version {version!r:.20} (this program reads up to {SCHEMA_VERSION})",
            "Update s5_to_loihi",
        )
    if manifest.get("digest") != _manifest_digest(manifest):
        raise BundleError(
            str(file), "was changed or damaged after it was written", "Compile it again"
        )
    return manifest


def _read_tensors(
    path: Path, name: str, manifest: Mapping, lenient: bool
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    file = path / name
    if not file.exists():
        raise BundleError(str(file), "is missing", "Compile it again")
    tensors = read_safetensors(file, LARGEST_TENSORS, BundleError, "Compile it again")
    for key, tensor in tensors.items():
        if tensor.dtype.kind != "i":
            what = f"is damaged ({key} holds {tensor.dtype}, not signed integers)"
            raise BundleError(str(file), what, "Compile it again")
    recorded = manifest["tensors"].get(name, {})
    if set(recorded) != set(tensors):
        different = sorted(set(recorded) ^ set(tensors))
        raise BundleError(
            str(file),
            f"does not hold the tensors of the manifest ({different[0]})",
            "Compile it again",
        )
    changed = tuple(key for key in sorted(tensors) if _digest(tensors[key]) != recorded[key])
    if changed and not lenient:
        raise BundleError(
            str(file),
            f"tensor {changed[0]} is not what was written (digest differs)",
            "Run 's5-to-loihi verify' to see what it changes, or compile it again",
        )
    return tensors, changed


def _text(value: object) -> str:
    if not is_text(value, LONGEST_TEXT):
        raise ValueError(f"{value!r:.60} is no text")
    return str(value)


def _endpoint(text: str) -> Endpoint:
    group, _, name = text.rpartition(".")
    return Endpoint(group, name)


def _of_this_version(manifest: Mapping) -> Mapping:
    """Return a manifest's network as this version writes it.

    Version 1 gave every array of constants a format of its own, also where its kind has only one;
    those that are not declared any more are not read. Its only activation by table was GELU.
    """
    graph = manifest["network"]
    if manifest["schema_version"] == 1:
        for group in graph["groups"]:
            constants = group["constants"]
            if group["kind"] == "scaled_state":
                constants["decay"] = constants["decay_re_format"]
            elif group["kind"] == "gelu_output":
                group["kind"] = "table_output"
                constants |= {"table": constants.pop("gelu"), "odd": 0}
    return graph


def _network_from_json(graph: Mapping, tensors: Mapping[str, np.ndarray]) -> Network:
    return Network(
        name=graph["name"],
        input_size=graph["input"]["size"],
        input_format=Format(*graph["input"]["format"]),
        groups=tuple(_group_from_json(group, tensors) for group in graph["groups"]),
        synapses=tuple(_synapses_from_json(entry, tensors) for entry in graph["synapses"]),
        output=_endpoint(graph["output"]),
        readout=Readout(graph["readout"]),
        sequence_length=graph["sequence_length"],
    )


def _group_from_json(group: Mapping, tensors: Mapping[str, np.ndarray]) -> NeuronGroup:
    kind = known_kinds()[group["kind"]]
    return NeuronGroup(
        name=group["name"],
        kind=kind,
        size=group["size"],
        constants=_constants_from_json(kind.constants, group["constants"], group["name"], tensors),
        formats={name: Format(*value) for name, value in group["formats"].items()},
        port_exponents=group["port_exponents"],
        phase=group["phase"],
        waits={
            port: tensors[f"{group['name']}/waits/{port}"].astype(np.int64)
            for port in group.get("waits", ())
        },
        early=group.get("early", 0),
    )


def _constants_from_json(
    cls: type, encoded: Mapping, prefix: str, tensors: Mapping[str, np.ndarray]
) -> tuple:
    values: dict[str, Any] = {}
    for declared in declared_fields(cls):
        name, key = declared.name, f"{prefix}/{declared.name}"
        if declared.is_array:
            array = tensors[key].astype(np.int64)
            array.flags.writeable = False
            values[name] = array
        elif declared.type is Format:
            values[name] = Format(*encoded[name])
        elif declared.type is int:
            values[name] = encoded[name]
        elif declared.type == Table:
            values[name] = tuple(map(operator.index, encoded[name]))
        else:
            values[name] = _constants_from_json(declared.type, encoded[name], key, tensors)
    return cls(**values)


def _synapses_from_json(entry: Mapping, tensors: Mapping[str, np.ndarray]) -> Synapses:
    name = entry["name"]
    data, indices, indptr = (tensors[f"{name}/{part}"] for part in ("data", "indices", "indptr"))
    rows, columns = map(operator.index, entry["shape"])
    shape = (rows, columns)
    if not storage_is_sound(data, indices, indptr, shape):
        raise NetworkError(name, "sparse storage is damaged (indices out of order)")
    weights = frozen_weights(csr_matrix((data, indices, indptr), shape=shape))
    return Synapses(
        name=name,
        source=_endpoint(entry["source"]),
        target=_endpoint(entry["target"]),
        weights=weights,
        exponent=entry["exponent"],
        delay=entry["delay"],
        product_bits=entry.get("product_bits"),
    )


def _vectors_from_json(entry: Mapping | None, tensors: Mapping[str, np.ndarray]) -> Vectors | None:
    if entry is None:
        return None
    prefix = "expected/"
    return Vectors(
        tokens=tensors["tokens"].astype(np.int64),
        expected={
            name[len(prefix) :]: array for name, array in tensors.items() if name.startswith(prefix)
        },
        recorded_as={
            name: tuple(map(_text, names)) for name, names in entry["recorded_as"].items()
        },
        origin=_text(entry["origin"]),
    )


def _mapping_from_json(entry: Mapping, tensors: Mapping[str, np.ndarray]) -> CoreMapping:
    cores = {name: array.astype(np.int32) for name, array in tensors.items()}
    for array in cores.values():
        array.flags.writeable = False
    fields = {name: entry[name] for name in _MAPPING_FIELDS}
    return CoreMapping(**fields | {"timestep": tuple(entry["timestep"])}, cores=cores)
