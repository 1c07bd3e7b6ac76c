"""Trainer: a model, a loss and an optimizer over a data set, as compiled epochs."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

import zkynet

from ..data import Dataset, Loader
from ..framework import cg
from ..framework.avals import make_aval
from ..framework.compiled import trace
from ..framework.errors import InputError
from .callbacks import Callback
from .devices import mesh_of
from .epochs import EpochRun
from .feeding import Feed, feed_of
from .history import History
from .loops import Loop
from .metrics import Metric, metric
from .options import check_fit, check_names, check_trainer
from .progress import progress_callback
from .steps import Task, evaluation_step, training_step
from .trouble import explained
from .weighing import can_weigh

VERSION = 2  # of state_dict's layout
_COUNT = make_aval((), np.dtype("int32"))
_LESS_MEMORY = ", with accumulate=2 in the optimizer for the same update"


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
        devices: a number of local devices (or "all") that share each batch; the batch size is a multiple of it.
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
        check_trainer(optimizer, metrics, precision)
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.metrics = [(m if isinstance(m, Metric) else metric(m)).suited_to(loss) for m in metrics]
        check_names(self.metrics)
        self.task = Task(model, loss, self.metrics, prepare, precision)
        # Whose parameters and states belong to the run.
        self.modules: dict[str, cg.Module] = {name: part for name, part in (
            ("model", model), ("loss", loss), ("prepare", prepare)) if isinstance(part, cg.Module)}
        self.seed = int(seed)
        self.mesh = mesh_of(devices)
        self.history = History()
        self.position = {"epoch": 0, "step": 0, "global_step": 0}
        self.totals: Sequence[Any] = []  # what was added up in an epoch that is not at its end
        self.epochs = 0
        self.stop_training = False
        self._loops: dict[Any, Loop] = {}  # of this call of fit or evaluate
        self._programs: dict[Any, Any] = {}
        self._feed: Feed | None = None
        self._interrupted: dict[str, Any] | None = None  # identity of the data of a restored place within an epoch

    # Training ------------------------------------------------------------------------------------------

    def fit(self, data: Any, validation: Any = None, *, epochs: int = 1, batch_size: int = 32, shuffle: bool = True,
            tail: str = "pad", progress: bool | str | None = None, callbacks: Sequence[Callback] = (),
            resume: Any = None) -> History:
        """Train for some epochs; called again, for some more.

        Args:
            validation: data that are evaluated after every epoch, in batches of the same size, as val_loss and so on.
            tail: rows that do not fill a batch: "pad" fills it with rows that count nothing in loss and metrics (batch
                normalisation sees them), "drop" leaves them out, "short" makes them a smaller batch, for which another
                program is compiled. Where the loss is no mean over rows or classes, "pad" leaves them out.
            progress: "rich", "plain", or False; by default what suits the terminal.
            resume: a `Checkpointer`: go on from its last checkpoint, if it has one, up to `epochs` in all.

        Returns:
            the history: loss, metrics and rates of every epoch.

        Raises:
            TrainingError: when the loss is not finite (it names the first bad node), or memory runs out.
            InputError: for data or arguments that do not fit.

        However it ends, parameters, position and history belong together: called again with the same data, it goes on
        with the rest of an interrupted epoch; with other data that epoch begins anew.
        """
        check_fit(tail, epochs, callbacks, resume)
        self.mesh.check(data.batch_size if isinstance(data, Loader) else batch_size)
        feed = feed_of(data, batch_size, shuffle, self.seed, self._tail(tail, "drop"), self.mesh.count)
        held_out = None if validation is None else self._evaluated(validation, feed.size)
        self._build(feed)
        callbacks = [*callbacks, *progress_callback(progress)]
        self._take(feed)
        self.epochs = self.position["epoch"] + epochs
        if resume is not None:
            resume.restore(self)
            feed.reseed(self.seed)
            callbacks = callbacks if resume in callbacks else [*callbacks, resume]
            self.epochs = epochs
        self.stop_training = False
        self._loops.clear()
        try:
            with explained(feed.size, _LESS_MEMORY):
                if held_out is not None:
                    with self._evaluating():
                        self._loop(held_out, held_out.size, training=False)  # what does not fit is said before training
                _tell(callbacks, "on_fit_start", self)
                while self.position["epoch"] < self.epochs and not self.stop_training:
                    self._epoch(feed, held_out, callbacks)
        finally:
            self.mesh.gather(self)
            with contextlib.ExitStack() as ends:  # all of them, whatever one raises
                for callback in reversed(callbacks):
                    ends.callback(callback.on_fit_end, self)
        return self.history

    def _tail(self, tail: str, otherwise: str) -> str:
        """What becomes of rows that do not fill a batch, where the loss cannot be taken over some rows only."""
        return tail if tail != "pad" or can_weigh(self.loss) else otherwise

    def _take(self, feed: Feed) -> None:
        """Go on with these data. An epoch that was interrupted is taken up only with the data and batches it had."""
        if self.position["step"] and self._data != feed.identity:
            self.position["step"], self.totals = 0, []
        self._feed = feed

    @property
    def _data(self) -> dict[str, Any] | None:
        """Identity of the data of the epoch that is in progress."""
        return self._interrupted if self._feed is None else self._feed.identity

    def _build(self, feed: Feed | None = None) -> None:
        """Give layers that wait for their first input their sizes, and the optimizer the parameters."""
        if any(module.deferred for part in self.modules.values() for module in part.modules()):
            if feed is None:
                raise InputError(f"{self.model.functional_name} has layers whose sizes come from the first input: call "
                                 "the model once on an example before its state is saved or restored.")
            trace(lambda *batch: self.task.forward(batch)[0], feed.avals(feed.size))
        if not self.optimizer.params:
            self.optimizer.bind(self.model.parameters())

    def _epoch(self, feed: Feed, held_out: Feed | None, callbacks: list[Callback]) -> None:
        epoch, first = self.position["epoch"], self.position["step"]
        _tell(callbacks, "on_epoch_start", self, epoch)
        start = time.perf_counter()
        for module in self.modules.values():
            module.train()
        EpochRun(self, feed, lambda size: self._loop(feed, size, training=True), callbacks).run()
        logs = self.task.results(self.totals)
        seconds = time.perf_counter() - start
        if held_out is not None:
            logs |= {f"val_{name}": value for name, value in self._evaluate(held_out).items()}
        logs |= {"lr": self.optimizer.rates[0], "seconds": seconds,
                 "steps_per_second": (feed.steps - first) / max(seconds, 1e-9)}
        self.history.append(epoch, logs)
        self.position |= {"epoch": epoch + 1, "step": 0}
        self.totals = []
        _tell(callbacks, "on_epoch_end", self, epoch, logs)

    @property
    def changing(self) -> list[Any]:
        """The parameters and states that the programs of this call of fit or evaluate change."""
        return list(dict.fromkeys(held for loop in self._loops.values() for held in loop.updated))

    @property
    def steps_per_epoch(self) -> int:
        return 0 if self._feed is None else self._feed.steps

    def _loop(self, feed: Feed, size: int, training: bool) -> Loop:
        """The compiled step for batches of so many rows, traced once in a call of fit or evaluate for all that may
        change meanwhile."""
        plan = self.optimizer.plan if training else None
        frozen = tuple([p.trainable for p in self.optimizer.params]) if training else None
        ragged = feed.ragged and size == feed.size
        key = (training, plan, frozen, ragged, *(avals := feed.avals(size)))
        if key not in self._loops:
            step = (training_step(self.task, self.optimizer, size, ragged) if training
                    else evaluation_step(self.task, size, ragged))
            what = "training" if training else "evaluation"
            self._loops[key] = Loop(step, [*avals, _COUNT], f"{what} of {self.model.functional_name}", self._programs,
                                    self.mesh.copy)
        return self._loops[key]

    # Using ---------------------------------------------------------------------------------------------

    def evaluate(self, data: Any, batch_size: int = 256) -> dict[str, Any]:
        """Loss and metrics over all rows, in evaluation mode.

        The loss of batches is weighted by what its mean divides by (rows, or classes that are not ignored).

        Raises:
            TrainingError: when memory runs out.
        """
        feed = self._evaluated(data, batch_size)
        self._loops.clear()
        return self._evaluate(feed)

    def _evaluated(self, data: Any, batch_size: int) -> Feed:
        return feed_of(data, batch_size, False, self.seed, self._tail("pad", "short"), self.mesh.count)

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        with contextlib.ExitStack() as modes:
            for module in self.modules.values():
                modes.enter_context(module.evaluating())
            yield

    def _evaluate(self, feed: Feed) -> dict[str, Any]:
        with self._evaluating(), explained(feed.size):
            loop = self._loop(feed, feed.size, training=False)
            carry = self.mesh.copy(loop.start())
            for block in feed.blocks(0, 0, self.mesh.split):
                if block.size != loop.size:
                    totals = loop.totals(carry)
                    loop = self._loop(feed, block.size, training=False)
                    carry = self.mesh.copy(loop.start(totals))
                carry, _ = loop.run(carry, block.arrays, block.start, block.stop, block.rows)
            return self.task.results(loop.totals(carry))

    def predict(self, *inputs: Any, batch_size: int = 256) -> Any:
        """The model's output for all rows, in evaluation mode, as NumPy arrays.

        Args:
            inputs: the model's inputs, as arrays. Or what `fit` takes, a tuple (inputs..., target), a data set or a
                loader: it is prepared as in training, and the target left out.

        Raises:
            InputError: when an output does not have the rows along its first axis. TrainingError: out of memory.
        """
        given = inputs[0] if len(inputs) == 1 else None
        prepared = isinstance(given, tuple | Loader) or (
            isinstance(given, Dataset) and not isinstance(given, np.ndarray | jax.Array | list))
        feed = feed_of(given if prepared else inputs, batch_size, False, self.seed, "pad")
        output = zkynet.compile((lambda *batch: self.task.forward(batch)[0]) if prepared else self.task.predicted)
        parts = []
        with self._evaluating(), explained(feed.size):
            for block in feed.blocks(0, 0):
                for number in range(block.start, block.stop):
                    found = jax.tree.map(np.asarray, output(*(array[number] for array in block.arrays)))
                    rows = min(block.rows - number * block.size, block.size)
                    parts.append(jax.tree.map(functools.partial(_rows_of, rows=rows, size=block.size), found))
        return jax.tree.map(lambda *found: np.concatenate(found), *parts)

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
        """All that training goes on from: "model", "loss" and "prepare" (of those that are Modules) and "optimizer"
        (arrays by name), and "progress" (for JSON).

        Raises:
            InputError: when training changes parameters or states that belong to none of them.
        """
        self._build()
        held = {*self.optimizer.states}
        for module in self.modules.values():
            held.update(module.parameters(), (state for _, state in module.named_states()))
        lost = [one for one in dict.fromkeys([*self.optimizer.params, *self.changing]) if one not in held]
        if lost:
            raise InputError(f"training changes {lost}, which belong neither to the model nor to a loss or prepare "
                             "that is a Module, so they would not be saved: make them attributes of one of these.")
        states = {kind: {name: np.array(value) for name, value in module.state_dict().items()}
                  for kind, module in self.modules.items()}
        return {**states, "optimizer": self.optimizer.state_dict(), "progress": {
            "version": VERSION, "position": dict(self.position), "seed": self.seed, "history": self.history.to_json(),
            "totals": [np.asarray(total).tolist() for total in self.totals],
            "metrics": [one.name for one in self.metrics],
            "data": self._data if self.position["step"] else None}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` gave. Nothing changes when it does not fit."""
        progress = state["progress"]
        if progress["version"] != VERSION:
            raise InputError(f"the state is of version {progress['version']}, but this is version {VERSION}.")
        if progress["position"]["step"]:
            self._check_middle(progress)
        self._build()
        holders = {**self.modules, "optimizer": self.optimizer}
        before = {kind: holder.state_dict() for kind, holder in holders.items()}
        history = History.from_json(progress["history"])
        try:
            for kind, holder in holders.items():
                holder.load_state_dict(state.get(kind, {}))
        except BaseException:
            for kind, holder in holders.items():
                holder.load_state_dict(before[kind])
            raise
        self.position, self.totals = dict(progress["position"]), list(progress["totals"])
        self.seed, self.history, self._interrupted = progress["seed"], history, progress["data"]

    def _check_middle(self, progress: dict[str, Any]) -> None:
        """Whether an epoch can be taken up where this state left it."""
        here = {"metrics": [one.name for one in self.metrics]}
        there = {"metrics": progress["metrics"]}
        if self._feed is not None and progress["data"] is not None:
            here |= self._feed.identity
            there |= progress["data"]
        other = [f"{name}: {there.get(name)!r} there, {here.get(name)!r} here" for name in {**there, **here}
                 if there.get(name) != here.get(name)]
        if other:
            raise InputError("the state is of the middle of an epoch, whose rest is not known with other data, batches "
                             f"or metrics ({'; '.join(other)}).")


def _rows_of(output: np.ndarray, rows: int, size: int) -> np.ndarray:
    """The real rows of a batch's output."""
    if not output.ndim or len(output) != size:
        raise InputError(f"predict: an output of the shape {output.shape} does not have the {size} rows of a batch as "
                         "its first axis, so batches cannot be put together: call the model itself, or one that gives "
                         "the rest only.")
    return output[:rows]


def _tell(callbacks: Sequence[Callback], event: str, *arguments: Any) -> None:
    for callback in callbacks:
        getattr(callback, event)(*arguments)
