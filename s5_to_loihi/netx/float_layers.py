"""S5 layers that hold a float model, as a torch block in a SLAYER network exports them."""

from __future__ import annotations

from typing import Any

import numpy as np

from s5_to_loihi.errors import CheckpointError
from s5_to_loihi.files.hdf5 import ATTRIBUTES, Tree
from s5_to_loihi.float_model import (
    Activation,
    Affine,
    BatchNorm,
    Discretization,
    GluVariant,
    S5Block,
    S5Model,
    StateSpaceModel,
)

#: Whose layout this is; see ``training/slayer.py``, which writes it.
SCHEMA, VERSION = "s5_to_loihi model", 1
_DO = "Export the block again"


def float_model_of(tree: Tree, width: int, where: str) -> S5Model:
    """Return the float model of a layer: one block without encoder and decoder.

    Args:
        tree: the group ``model``.
        width: neurons in and out.
        where: the layer, for errors.

    Raises:
        CheckpointError: a part is missing or not what it should be.
    """
    said: dict[str, Any] = tree.get(ATTRIBUTES, {})
    if said.get("schema") != SCHEMA or said.get("schema_version") != VERSION:
        raise CheckpointError(where, "holds a model of another layout", _DO)
    states = np.size(tree.get("ssm", {}).get("step", ()))

    def array(name: str, *shape: int) -> np.ndarray:
        group, _, last = name.partition("/")
        found = tree.get(group, {}).get(last)
        if not isinstance(found, np.ndarray) or found.shape != shape:
            got = getattr(found, "shape", "nothing")
            raise CheckpointError(where, f"model/{name} is {got}, not {shape}", _DO)
        if not np.isfinite(found).all():
            raise CheckpointError(where, f"model/{name} holds numbers that are not finite", _DO)
        return found.astype(np.float64)

    def complexes(name: str, *shape: int) -> np.ndarray:
        parts = array(name, *shape, 2)
        return parts[..., 0] + 1j * parts[..., 1]

    def affine(name: str) -> Affine | None:
        if name not in tree:
            return None
        return Affine(array(f"{name}/weight", width, width), array(f"{name}/bias", width))

    try:
        ssm = StateSpaceModel(
            eigenvalues=complexes("ssm/eigenvalues", states),
            step=array("ssm/step", states),
            b=complexes("ssm/b", states, width),
            c=complexes("ssm/c", width, states),
            d=array("ssm/d", width),
            discretization=Discretization(said["discretization"]),
            conjugate_symmetric=bool(said["conjugate_symmetric"]),
        )
        norm = BatchNorm(
            mean=array("norm/mean", width),
            variance=array("norm/variance", width),
            scale=array("norm/scale", width),
            bias=array("norm/bias", width),
            epsilon=float(said["epsilon"]),
        )
        block = S5Block(
            norm=norm,
            ssm=ssm,
            activation=Activation(said["activation"]),
            glu=GluVariant(said["glu"]),
            value=affine("value"),
            gate=affine("gate"),
            prenorm=bool(said["prenorm"]),
            rectified=bool(said["rectified"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(where, f"holds no model of ours ({error})", _DO) from None
    return S5Model("s5", None, False, (block,), None)
