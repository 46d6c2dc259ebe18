"""Initial state-space models: HiPPO-LegS, diagonalised, in blocks.

Formulas: Gu et al., "On the Parameterization and Initialization of Diagonal State Space Models"
(arXiv 2206.11893) and Smith et al., "Simplified State Space Layers" (arXiv 2208.04933, section
4.2): the normal part of HiPPO-LegS, ``-1/2 I + S`` with S skew-symmetric, has a unitary basis of
eigenvectors V; B and C are drawn at random and moved into that basis.
"""

from __future__ import annotations

import numpy as np

from s5_to_loihi.float_model import Discretization, StateSpaceModel

#: Time steps are drawn between these, uniformly in their logarithm, as in the S5 paper.
STEPS = (1e-3, 1e-1)


def hippo_normal(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues (size,) and the eigenvectors (size, size) of HiPPO-LegS's normal part.

    Sorted by falling imaginary part: the first half are those of the conjugate pairs that are kept.
    """
    root = np.sqrt(1 + 2 * np.arange(size))
    skew = np.tril(np.outer(root, root), -1) / 2
    # -1/2 I + (upper - lower): i times a Hermitian matrix beside the diagonal.
    imaginary, vectors = np.linalg.eigh(-1j * (skew.T - skew))
    return -0.5 + 1j * imaginary[::-1], vectors[:, ::-1]


def initial_state_space(
    width: int,
    states: int,
    random: np.random.Generator,
    blocks: int = 1,
    discretization: Discretization = Discretization.ZERO_ORDER_HOLD,
    steps: tuple[float, float] = STEPS,
) -> StateSpaceModel:
    """Return a model with ``states`` conjugate pairs, one of each kept.

    Args:
        width: features H.
        states: complex states P, a multiple of ``blocks``.
        random: where B, C, D and the steps come from.
        blocks: independent copies of a smaller HiPPO matrix, ``states / blocks`` states each.
        discretization: of the recurrence.
        steps: the least and the largest time step.
    """
    own = states // blocks
    values, vectors = hippo_normal(2 * own)
    basis = vectors[:, :own]
    b, c = [], []
    for _ in range(blocks):
        b.append(basis.conj().T @ random.normal(0, width**-0.5, (2 * own, width)))
        c.append(random.normal(0, (2 * states) ** -0.5, (width, 2 * own)) @ basis)
    return StateSpaceModel(
        eigenvalues=np.tile(values[:own], blocks),
        step=np.exp(random.uniform(np.log(steps[0]), np.log(steps[1]), states)),
        b=np.concatenate(b),
        c=np.concatenate(c, axis=1),
        d=random.normal(0, 1, width),
        discretization=discretization,
        conjugate_symmetric=True,
    )
