"""Puts the shipped zoo together from trained models.

    python benchmarks/make_zoo.py STUDY_FOLDER [TRAINED_CLASSIFIER_FOLDER]

``STUDY_FOLDER`` is what ``s5_to_loihi.training.study`` has left (results.json, models.zip,
bundles.zip), the other what ``s5-to-loihi train`` has left; without it the classifier stays. Writes
``s5_to_loihi/data/zoo``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from s5_to_loihi import audio, bundle
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.checkpoints.description import DESCRIPTION, load_model, save_model
from s5_to_loihi.compiler import own_vectors
from s5_to_loihi.files.digest import source_digest
from s5_to_loihi.training import spectra, synthetic

ZOO = Path(__file__).parents[1] / "s5_to_loihi" / "data" / "zoo"
#: Name in the zoo -> name in the study, bits.
DENOISERS = {
    "denoiser_dense_h48": ("h48_dense", 8),
    "denoiser_sparse_h128": ("h128_sparse90", 4),
    "denoiser_sparse_h192": ("h192_sparse90", 4),
}
#: Tokens that the recorded vectors are of.
SEED, SECONDS = 5, 0.3


def denoiser(name: str, study: Path, place: Path, results: dict) -> dict:
    point, bits = DENOISERS[name]
    model, _ = load_model(place / point / DESCRIPTION)
    save_model(replace(model, name=name), ZOO / name / "model")
    clips = synthetic.clips(1, SECONDS, SEED)
    tokens = spectra.features(spectra.analyse(clips.noisy.double())).numpy()
    network = bundle.read(place / f"{point}_w{bits}.bundle").network
    network = replace(network, name=name)
    source = {
        "format": "finetuned as integers by s5_to_loihi.training.study",
        "name": name,
        "sha256": source_digest(sorted((ZOO / name / "model").iterdir())),
    }
    written = Bundle(network, own_vectors(network, tokens), source, ())
    bundle.write(written, ZOO / name / f"{name}.bundle")
    trained, tuned = results["trained"][point], results["tuned"][f"{point}_w{bits}"]
    return {
        "kind": "denoiser",
        "recipe": {
            "command": "python -m s5_to_loihi.training.study",
            "point": results["points"][point],
            "scale": results["scale"],
            "steps": trained.get("steps", results["scale"]["steps"]),
            "finetuned_steps": tuned["steps"],
            "weights": bits,
        },
        "data": "synthetic noisy speech of s5_to_loihi.training.synthetic, made on the GPU from"
        " seeds 1 (training) and 1000003 (held out)",
        "scores": {
            "noisy SI-SNR, dB": trained["noisy"],
            "float SI-SNR, dB": trained["si_snr"],
            "rounded SI-SNR, dB": tuned["rounded"]["si_snr"],
            "deployed SI-SNR, dB": tuned["tuned"]["si_snr"],
        },
        "trained_on": f"{results['device']}, PyTorch {results['torch']}",
        "rate": audio.RATE,
    }


def classifier(folder: Path) -> tuple[str, dict]:
    facts = json.loads((folder / "training.json").read_text())
    name = facts["recipe"]["name"]
    shutil.copytree(folder / "model", ZOO / name / "model")
    shutil.copytree(folder / f"{name}.bundle", ZOO / name / f"{name}.bundle")
    recipe = facts["recipe"]
    recipe["data"] |= {key: Path(recipe["data"][key]).name for key in ("train", "test")}
    return name, {
        "kind": "classifier",
        "recipe": recipe,
        "data": "Japanese Vowels (UCI, CC BY 4.0; Kudo, Toyama and Shimbo 1999), .ts files of the"
        f" wheel of aeon 1.6.0; sha256 of the arrays {facts['data_sha256']}",
        "scores": {f"{key} accuracy, %": value for key, value in facts["scores"].items()},
        "trained_on": f"a processor, PyTorch {facts['torch']}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("classifier", type=Path, nargs="?")
    given = parser.parse_args()
    ZOO.mkdir(parents=True, exist_ok=True)
    before = json.loads((ZOO / "zoo.json").read_text()) if given.classifier is None else {}
    kept = {name: entry for name, entry in before.items() if entry["kind"] == "classifier"}
    for there in ZOO.iterdir():
        if there.is_dir() and there.name not in kept:
            shutil.rmtree(there)
    results = json.loads((given.study / "results.json").read_text())
    models = {}
    with tempfile.TemporaryDirectory() as place:
        for name in ("models.zip", "bundles.zip"):
            with zipfile.ZipFile(given.study / name) as archive:
                archive.extractall(place)
        for name in DENOISERS:
            models[name] = denoiser(name, given.study, Path(place), results)
    models |= dict([classifier(given.classifier)]) if given.classifier is not None else kept
    for name, entry in models.items():
        files = sorted(file for file in (ZOO / name).rglob("*") if file.is_file())
        entry["sha256"] = {str(file.relative_to(ZOO)): source_digest([file]) for file in files}
        print(name, sum(file.stat().st_size for file in files), entry["scores"])
    (ZOO / "zoo.json").write_text(json.dumps(models, indent=1) + "\n")


if __name__ == "__main__":
    main()
