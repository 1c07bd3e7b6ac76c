"""Trainer: a model, a loss and an optimizer over a data set, as compiled epochs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

import zkynet

from ..framework import cg
from ..framework.avals import make_aval
from ..framework.compiled import trace
from ..framework.errors import InputError
from .callbacks import Callback
from .devices import mesh_of
from .feeding import Block, Feed, feed_of
from .history import History
from .loops import Loop
from .metrics import Metric, metric
from .pace import Pace
from .progress import progress_callback
from .steps import Task, can_weigh, evaluation_step, training_step
from .trouble import Chunk, explained, refuse_nonfinite

VERSION = 1  # of state_dict's layout
_COUNT = make_aval((), np.dtype("int32"))


class Trainer:
    """Trains a model: `fit`, `evaluate`, `predict`.

    Args:
        model: a Module of the inputs.
        loss: a Module (or function) of prediction and target that gives a scalar, such as `nn.CrossEntropyLoss()`.
        optimizer: from `zkynet.optim`; without parameters it takes the model's.
        metrics: names ("accuracy") or `Metric` objects.
        prepare: a function of a batch's nodes that gives (inputs..., target), compiled with the step: scaling,
            augmentation.
        precision: "bfloat16" computes the model in it; parameters, loss and update stay float32.
        devices: a number of local devices (or "all") that share each batch.
        seed: of the order of the data.

    Data are tuples of arrays (inputs..., target), a data set, or a `data.Loader`.

    >>> import numpy as np
    >>> from zkynet import nn, optim, train
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> trainer = train.Trainer(nn.Linear(1, 1), nn.MSELoss(), optim.SGD(lr=0.5))
    >>> history = trainer.fit((x, 3 * x + 1), epochs=20, batch_size=16, progress=False)
    >>> history["loss"][-1] < 1e-3
    True
    """

    def __init__(self, model: cg.Module, loss: Callable[..., Any], optimizer: Any, metrics: Sequence[str | Metric] = (),
                 *, prepare: Callable[..., Any] | None = None, precision: str | None = None,
                 devices: int | str | None = None, seed: int = 0):
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.metrics = [m if isinstance(m, Metric) else metric(m) for m in metrics]
        self.task = Task(model, loss, self.metrics, prepare, precision)
        self.seed = seed
        self.mesh = mesh_of(devices)
        self.history = History()
        self.position = {"epoch": 0, "step": 0, "global_step": 0}
        self.epochs = 0
        self.stop_training = False
        self._totals: list[Any] = []  # of the epoch in progress, when it was interrupted
        self._loops: dict[Any, Loop] = {}
        self._unchecked: tuple[Chunk, Any] | None = None  # a chunk of steps whose losses nobody looked at yet
        self._predict = zkynet.compile(model)
        self._feed: Feed | None = None

    # Training ------------------------------------------------------------------------------------------

    def fit(self, data: Any, validation: Any = None, *, epochs: int = 1, batch_size: int = 32, shuffle: bool = True,
            tail: str = "pad", progress: bool | str | None = None, callbacks: Sequence[Callback] = (),
            resume: Any = None) -> History:
        """Train for some epochs; called again, for some more.

        Args:
            validation: data that are evaluated after every epoch, as val_loss and so on.
            tail: rows that do not fill a batch: "pad" fills it with rows that count nothing, "drop" leaves them out.
                Where the loss is no plain mean over the rows they are left out, as padding would change it.
            progress: "rich", "plain", or False; by default what suits the terminal.
            resume: a `Checkpointer`: go on from its last checkpoint, if it has one, up to `epochs` in all.

        Returns:
            the history: loss, metrics and rates of every epoch.

        Raises:
            TrainingError: when the loss is not finite (it names the first bad node), or memory runs out.
        """
        if tail not in ("pad", "drop"):
            raise InputError(f'tail is "pad" or "drop", but got {tail!r}.')
        feed = self._feed = feed_of(data, batch_size, shuffle, self.seed, tail if can_weigh(self.loss) else "drop")
        held_out = None if validation is None else feed_of(validation, batch_size, False, self.seed, "pad")
        self._build(feed)
        callbacks = [*callbacks, *progress_callback(progress)]
        self.epochs = len(self.history) + epochs
        if resume is not None:
            resume.restore(self)
            callbacks = callbacks if resume in callbacks else [*callbacks, resume]
            self.epochs = epochs
        self.stop_training, self._unchecked = False, None
        try:
            _tell(callbacks, "on_fit_start", self)
            with explained(self, feed):
                while self.position["epoch"] < self.epochs and not self.stop_training:
                    self._epoch(feed, held_out, callbacks)
        finally:
            self.mesh.gather(self)
            with contextlib.ExitStack() as ends:  # all of them, whatever one raises
                for callback in reversed(callbacks):
                    ends.callback(callback.on_fit_end, self)
        return self.history

    def _build(self, feed: Feed) -> None:
        """Give layers that wait for their first input their sizes, and the optimizer the parameters."""
        if any(module.deferred for module in self.model.modules()):
            trace(lambda *batch: self.task.forward(batch)[0], feed.avals)
        if not self.optimizer.params:
            self.optimizer.bind(self.model.parameters())

    def _epoch(self, feed: Feed, held_out: Feed | None, callbacks: list[Callback]) -> None:
        epoch, first = self.position["epoch"], self.position["step"]
        _tell(callbacks, "on_epoch_start", self, epoch)
        start = time.perf_counter()
        self.model.train()
        loop = self._loop(feed, training=True)
        carry = self.mesh.copy(loop.start(self._totals))
        pace = Pace(callbacks)
        for block in feed.blocks(epoch, first, self.mesh.split):
            carry = self._block(loop, carry, block, pace, callbacks)
        self._check(loop)
        loop.commit(carry)
        self._totals = []
        self.position |= {"epoch": epoch + 1, "step": 0}
        logs = self.task.results(loop.totals(carry))
        seconds = time.perf_counter() - start
        if held_out is not None:
            logs |= {f"val_{name}": value for name, value in self._evaluate(held_out).items()}
        logs |= {"lr": self.optimizer.rates[0], "seconds": seconds,
                 "steps_per_second": (feed.steps - first) / max(seconds, 1e-9)}
        self.history.append(epoch, logs)
        _tell(callbacks, "on_epoch_end", self, epoch, logs)

    def _block(self, loop: Loop, carry: list[Any], block: Block, pace: Pace, callbacks: list[Callback]) -> list[Any]:
        """Run a block in chunks."""
        number = block.start
        while number < block.stop:
            end = pace.end(number, block.stop, self.position["global_step"])
            chunk = Chunk(carry, block, number, self.position["global_step"])
            carry, losses = loop.run(carry, block.arrays, number, end, block.rows)
            self._check(loop)  # the chunk before, while this one runs
            self._unchecked = chunk, losses
            self.position |= {"step": block.first + end, "global_step": self.position["global_step"] + end - number}
            number = end
            if pace.due(self.position["global_step"]):
                self._check(loop)
                loop.commit(carry)
                totals = loop.totals(carry)
                self._totals = [np.asarray(total).tolist() for total in totals]
                _tell(callbacks, "on_steps", self, {
                    "epoch": self.position["epoch"], "steps": self.position["step"], "total": self.steps_per_epoch,
                    "step": self.position["global_step"], "seconds": pace.seconds, **self.task.results(totals)})
        return carry

    def _check(self, loop: Loop) -> None:
        if self._unchecked is not None:
            (chunk, losses), self._unchecked = self._unchecked, None
            refuse_nonfinite(self, loop, chunk, losses)

    @property
    def steps_per_epoch(self) -> int:
        return 0 if self._feed is None else self._feed.steps

    def _loop(self, feed: Feed, training: bool) -> Loop:
        """The compiled step for this feed's batches, made once for all that it depends on."""
        plan = self.optimizer.plan if training else None
        frozen = tuple([p.trainable for p in self.optimizer.params]) if training else None
        key = (training, plan, frozen, feed.size, feed.ragged, *feed.avals)
        if key not in self._loops:
            step = (training_step(self.task, self.optimizer, feed.size, feed.ragged) if training
                    else evaluation_step(self.task, feed.size, feed.ragged))
            what = "training" if training else "evaluation"
            self._loops[key] = Loop(step, [*feed.avals, _COUNT], f"{what} of {self.model.functional_name}",
                                    self.mesh.copy)
        return self._loops[key]

    # Using ---------------------------------------------------------------------------------------------

    def evaluate(self, data: Any, batch_size: int = 256) -> dict[str, Any]:
        """Loss and metrics over all rows, in evaluation mode."""
        return self._evaluate(feed_of(data, batch_size, False, self.seed, "pad"))

    def _evaluate(self, feed: Feed) -> dict[str, Any]:
        training = self.model.training
        self.model.eval()
        try:
            if not feed.ragged or can_weigh(self.loss):
                return self.task.results(self._totals_of(feed))
            # Padding would change this loss: full batches first, then the rest as a batch of its own.
            totals = [self._totals_of(part) for part in feed.parts()]
            return self.task.results([sum(both) for both in zip(*totals, strict=True)])
        finally:
            self.model.train(training)

    def _totals_of(self, feed: Feed) -> list[Any]:
        loop = self._loop(feed, training=False)
        carry = self.mesh.copy(loop.start())
        for block in feed.blocks(0, 0, self.mesh.split):
            carry, _ = loop.run(carry, block.arrays, block.start, block.stop, block.rows)
        return [np.asarray(total) for total in loop.totals(carry)]

    def predict(self, *inputs: Any, batch_size: int = 256) -> Any:
        """The model's output for all rows of the inputs, in evaluation mode, as NumPy arrays."""
        feed = feed_of(inputs, batch_size, False, self.seed, "pad")
        training = self.model.training
        self.model.eval()
        try:
            parts = [jax.tree.map(np.asarray, self._predict(*(array[number] for array in block.arrays)))
                     for block in feed.blocks(0, 0) for number in range(block.start, block.stop)]
        finally:
            self.model.train(training)
        return jax.tree.map(lambda *found: np.concatenate(found)[:feed.count], *parts)

    def sample_graph(self) -> Any:
        """The graph of the loss on an example batch of the last fit; None before."""
        return None if self._feed is None else self.graph_of(self._feed.example())

    def graph_of(self, batch: Sequence[Any]) -> Any:
        """The graph of the loss on a batch, as a researcher would write it."""
        task = self.task

        class Loss(cg.Module):
            def call(self, *batch: Any) -> Any:
                return task.batch_loss(*task.forward(batch), None)

        return Loss()(*batch)

    # State ---------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that training goes on from: "model" and "optimizer" (arrays by name) and "progress" (for JSON)."""
        return {"model": {name: np.array(value) for name, value in self.model.state_dict().items()},
                "optimizer": self.optimizer.state_dict(),
                "progress": {"version": VERSION, "position": dict(self.position), "totals": self._totals,
                             "seed": self.seed, "history": self.history.to_json(),
                             "data": None if self._feed is None else self._feed.identity()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` gave. Nothing changes when it does not fit."""
        progress = state["progress"]
        if progress["version"] != VERSION:
            raise InputError(f"the state is of version {progress['version']}, but this is version {VERSION}.")
        if self._feed is not None and progress["data"] not in (None, self._feed.identity()):
            raise InputError(f"the state belongs to other data or batches ({progress['data']}) than these "
                             f"({self._feed.identity()}): what is left of its epoch is not known.")
        before = self.optimizer.state_dict()
        self.optimizer.load_state_dict(state["optimizer"])
        try:
            self.model.load_state_dict(state["model"])
        except BaseException:
            self.optimizer.load_state_dict(before)
            raise
        self.position, self._totals = dict(progress["position"]), list(progress["totals"])
        self.seed = progress["seed"]
        self.history = History.from_json(progress["history"])


def _tell(callbacks: Sequence[Callback], event: str, *arguments: Any) -> None:
    for callback in callbacks:
        getattr(callback, event)(*arguments)
