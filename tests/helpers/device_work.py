"""What the processes of several devices do in tests: they import it by name."""

import os
import signal

import torch

from s5_to_loihi.errors import InputError
from s5_to_loihi.training import devices
from s5_to_loihi.training.tasks import task_of


def gradients(given, rank, tell):
    """Return loss, gradients and statistics of a batch that devices share."""
    recipe, module = given
    task = task_of(recipe)
    batch = task.batches(0)[0](slice(rank, None, devices.count()))
    loss = task.loss(module.run(batch.tokens, lengths=batch.lengths).output, batch)
    weight = loss.new_tensor(task.weight(batch))
    (loss * weight / devices.total(weight)).backward()
    with torch.no_grad():
        sums = [devices.total(one.grad).numpy() for one in module.parameters()]
    return sums, [one.numpy() for one in module.buffers()]


def fails_on_the_second(given, rank, tell):
    if rank == 0:
        return float(devices.total(torch.ones(())))  # the other one never comes
    if given == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if given == "bug":
        raise ValueError("a bug")
    raise InputError("training, float", "diverged")
