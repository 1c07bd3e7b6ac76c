"""Flax modules read into Parameters, States and a function of their values: nnx and linen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ...framework.errors import InputError, ShapeError
from ...framework.random_stream import RandomStream
from ...framework.templates import Held, Parameter, State
from .bridge import FlaxModule, Mode, Statistic, example_arrays, input_names, mode_of
from .streams import FlaxStream, packed, unpacked

Path = tuple[Any, ...]


def require_flax() -> None:
    try:
        import flax  # noqa: F401 - only to see whether it is there
    except ImportError:
        raise InputError("zkynet.interop.flax needs flax: pip install 'zkynet[flax]'.") from None


def _is_key(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _kind(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"{type(value).__name__} {str(value)[:40]!r}"


# nnx ----------------------------------------------------------------------------------------------------------


def from_nnx(module: Any, *example_inputs: Any, open: bool = False, mode: Mode | None = None) -> FlaxModule:
    """A zkynet Module that computes what an nnx module computes, starting from copies of its values.

    nnx.Param become Parameters, everything else (batch statistics, caches) States that training updates, streams of
    random numbers RandomStreams that give the same draws as in flax. `train()` and `eval()` mean what they mean in nnx
    (`deterministic`, `use_running_average`).

    Args:
        module: an nnx.Module with a __call__.
        example_inputs: arrays; when given, the module is checked with them at once.
        open: make the nodes of the module's inside instead of one: zkynet's operators where there is one for an
            equation of the jaxpr.
        mode: the keyword arguments of a call, given whether it is for training. Left out, arguments called train,
            training, is_training, deterministic and use_running_average are set.

    Raises:
        InputError: when it is no nnx module, or example inputs do not fit its arguments.
        ShapeError: when flax refuses the inputs.

    https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/

    >>> import numpy as np
    >>> from flax import nnx
    >>> net = from_nnx(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), np.ones((1, 2)))
    >>> [name for name, _ in net.named_parameters()], net(np.ones((5, 2))).shape
    (['bias', 'kernel'], (5, 3))
    """
    require_flax()
    from flax import linen, nnx

    if isinstance(module, linen.Module):
        raise InputError(f"{type(module).__name__} is a linen module: use from_linen(module, variables).")
    if not isinstance(module, nnx.Module):
        raise InputError(f"from_nnx needs an nnx.Module, but got {_kind(module)}.")
    example, shown = example_arrays(example_inputs)
    names = input_names(module, len(example) or None)
    source = NnxSource(module, mode_of(module, len(names), mode), shown)
    made = FlaxModule(source, source.held, names, open)
    if example:
        made.try_on(example)
    return made


class NnxSource:
    """An nnx module: its graph in both modes, and where each value stands."""

    def __init__(self, module: Any, mode: Mode, example: str):
        from flax import nnx

        self.name = type(module).__name__
        self.example = example
        self.mode = mode
        copy = nnx.clone(module)
        self.graphs = {}
        for training in (True, False):
            (copy.train if training else copy.eval)()
            self.graphs[training] = nnx.graphdef(copy)
        flat = dict(nnx.to_flat_state(nnx.state(module)))
        self.held: list[Held] = []
        self.places: list[tuple[Path, ...]] = []  # of each held value; two for a stream: key and count
        for path, variable in flat.items():
            if self._in_stream(path, flat):
                if path[-1] == "key":
                    self._add_stream(path, flat)
                continue
            value = variable.get_value()
            if not hasattr(value, "dtype"):
                raise InputError(f"{self.name}: the {type(variable).__name__} at {_dotted(path)} holds a "
                                 f"{type(value).__name__}, which is no array.")
            kind = (Parameter if isinstance(variable, nnx.Param) else
                    Statistic if isinstance(variable, nnx.BatchStat) else State)
            self.held.append(kind(_dotted(path), value))
            self.places.append((path,))
        self.impls = {path: jax.random.key_impl(v.get_value()) for path, v in flat.items() if _is_key(v.get_value())}
        # Only their metadata is needed: values come with every call.
        self.variables = {path: variable.copy(0) for path, variable in flat.items()}

    def _in_stream(self, path: Path, flat: Mapping[Path, Any]) -> bool:
        from flax import nnx

        pair = [flat.get((*path[:-1], name)) for name in ("key", "count")]
        return (path[-1] in ("key", "count") and isinstance(pair[0], nnx.RngKey) and isinstance(pair[1], nnx.RngCount)
                and pair[1].get_value().shape == ())

    def _add_stream(self, path: Path, flat: Mapping[Path, Any]) -> None:
        places = path, (*path[:-1], "count")
        key, count = [flat[place].get_value() for place in places]
        self.held.append(FlaxStream(_dotted(path[:-1]), key, count))
        self.places.append(places)

    def _placed(self, values: Sequence[Any]) -> dict[Path, Any]:
        """The arrays by path, with keys as flax has them."""
        found: dict[Path, Any] = {}
        for places, value in zip(self.places, values, strict=True):
            if len(places) == 2:
                found.update(zip(places, unpacked(value, self.impls.get(places[0])), strict=True))
            else:
                impl = self.impls.get(places[0])
                found[places[0]] = value if impl is None else jax.random.wrap_key_data(value, impl=impl)
        return found

    def _merged(self, training: bool, placed: Mapping[Path, Any]) -> Any:
        from flax import nnx

        return nnx.merge(self.graphs[training], nnx.from_flat_state(
            [(path, variable.copy(placed[path])) for path, variable in self.variables.items()]))

    def run(self, training: bool, values: Sequence[Any], args: Any, named: Any) -> tuple[Any, list[Any]]:
        from flax import nnx

        placed = self._placed(values)
        module = self._merged(training, placed)
        outputs = module(*args, **{**self.mode(training), **named})
        after = {path: variable.get_value() for path, variable in nnx.to_flat_state(nnx.state(module))}
        news = []
        for places in self.places:
            new = [after.get(path, placed[path]) for path in places]
            if all(a is placed[path] for a, path in zip(new, places, strict=True)):
                news.append(None)
            elif len(places) == 2:
                news.append(packed(*new))
            else:
                news.append(jax.random.key_data(new[0]) if places[0] in self.impls else new[0])
        return outputs, news

    def export(self, training: bool, values: Sequence[Any]) -> Any:
        return self._merged(training, self._placed(values))


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


# linen --------------------------------------------------------------------------------------------------------


def from_linen(module: Any, variables: Mapping[str, Any] | None, *example_inputs: Any,
               rngs: int | Mapping[str, int] | None = None, open: bool = False,
               mode: Mode | None = None) -> FlaxModule:
    """A zkynet Module that computes what a linen module computes with these variables.

    The collection "params" becomes Parameters; all other collections (batch_stats, cache) become States, updated by
    what the module does. Each stream of random numbers is a RandomStream, "rngs.dropout".

    Args:
        module: a linen.Module with a __call__.
        variables: what `module.init` returned; None to initialise it here, with the example inputs.
        example_inputs: arrays; when given, the module and its variables are checked with them at once.
        rngs: the seeds of the streams by name, or one seed for those that are needed (0 when left out).
        open, mode: see `from_nnx`.

    Raises:
        InputError: when it is no linen module, or variables are missing.
        ShapeError: when flax refuses the inputs, or variables have other shapes.

    https://flax-linen.readthedocs.io/en/latest/

    >>> import numpy as np
    >>> from flax import linen
    >>> net = from_linen(linen.Dense(3), None, np.ones((1, 2), np.float32))
    >>> [name for name, _ in net.named_parameters()], net(np.ones((5, 2), np.float32)).shape
    (['bias', 'kernel'], (5, 3))
    """
    require_flax()
    from flax import linen, nnx

    if isinstance(module, nnx.Module):
        raise InputError(f"{type(module).__name__} is an nnx module: use from_nnx(module).")
    if not isinstance(module, linen.Module):
        raise InputError(f"from_linen needs a linen.Module, but got {_kind(module)}.")
    example, shown = example_arrays(example_inputs)
    names = input_names(module, len(example) or None)
    mode = mode_of(module, len(names), mode)
    seeds = dict(rngs) if isinstance(rngs, Mapping) else _needed_seeds(module, example, mode, rngs or 0)
    variables = _checked(module, variables, example, mode, seeds)
    source = LinenSource(module, variables, seeds, mode, shown)
    made = FlaxModule(source, source.held, names, open)
    if example:
        made.try_on(example)
    return made


def _init(module: Any, example: tuple, mode: Mode, seeds: Mapping[str, int], training: bool = False) -> Any:
    keys = {name: jax.random.key(seed) for name, seed in {"params": 0, **seeds}.items()}
    return module.init(keys, *example, **mode(training))


def _needed_seeds(module: Any, example: tuple, mode: Mode, seed: int) -> dict[str, int]:
    """Seeds for the streams that training draws from: none, dropout's, or the one that stands for any other."""
    from flax import errors

    if not example:
        return {"dropout": seed}
    variables = jax.eval_shape(lambda: _init(module, example, mode, {}))
    for names in ((), ("dropout",)):
        keys = {name: jax.random.key(seed) for name in names}
        try:
            jax.eval_shape(lambda v, keys=keys: module.apply(v, *example, rngs=keys, mutable=True, **mode(True)),
                           variables)
            return dict.fromkeys(names, seed)
        except errors.InvalidRngError:
            continue
    return {"params": seed}


def _checked(module: Any, variables: Any, example: tuple, mode: Mode, seeds: Mapping[str, int]) -> dict[str, Any]:
    """The variables as plain dictionaries; complete and of the right shapes, as far as the example tells."""
    from flax import core
    from flax.linen import meta

    name = type(module).__name__
    if variables is None:
        if not example:
            raise InputError(f"{name} has no variables yet: pass what init() returned, or example inputs.")
        variables = _init(module, example, mode, seeds)
    if not isinstance(variables, Mapping):
        raise InputError(f"{name}: variables are the dictionary that init() returned, but got {_kind(variables)}.")
    variables = meta.unbox(core.unfreeze(dict(variables)))  # pyright: ignore[reportArgumentType]
    if example:
        wanted = meta.unbox(core.unfreeze(jax.eval_shape(lambda: _init(module, example, mode, seeds))))
        expected, present = _leaves(wanted), _leaves(variables)
        missing = [_dotted(path) for path in expected if path not in present]
        if missing:
            raise InputError(f"{name} misses the variables {', '.join(missing)}; it has {', '.join(variables)}. Pass "
                             "everything that init() returned: {'params': ..., 'batch_stats': ...}.")
        wrong = [f"{_dotted(path)} is {tuple(jnp.shape(present[path]))}, expected {tuple(leaf.shape)}"
                 for path, leaf in expected.items() if jnp.shape(present[path]) != leaf.shape]
        if wrong:
            raise ShapeError(f"variables do not fit {name} with inputs {example_arrays(example)[1]}: "
                             f"{'; '.join(wrong)}.")
    return variables


def _leaves(tree: Any, path: Path = ()) -> dict[Path, Any]:
    if isinstance(tree, Mapping):
        return {place: leaf for name, part in tree.items() for place, leaf in _leaves(part, (*path, name)).items()}
    return {path: tree}


class LinenSource:
    """A linen module: the places of its variables, and the names of its streams."""

    def __init__(self, module: Any, variables: Mapping[str, Any], seeds: Mapping[str, int], mode: Mode, example: str):
        self.name = type(module).__name__
        self.module = module
        self.mode = mode
        self.example = example
        self.places: list[Path] = []
        self.streams = list(seeds)
        self.held: list[Held] = []
        taken: set[str] = set()
        kinds = {"params": Parameter, "batch_stats": Statistic}
        for collection in sorted(variables, key=lambda name: name != "params"):
            for path, value in _leaves(variables[collection]).items():
                name = _dotted(path)
                name = f"{collection}.{name}" if name in taken else name
                taken.add(name)
                self.places.append((collection, *path))
                self.held.append(kinds.get(collection, State)(name, value))
        self.held += [RandomStream(f"rngs.{name}", seed) for name, seed in seeds.items()]
        self.mutable = [name for name in variables if name != "params"]

    def _nested(self, values: Sequence[Any]) -> dict[str, Any]:
        tree: dict[str, Any] = {"params": {}}
        for path, value in zip(self.places, values):  # noqa: B905 - the keys of the streams follow
            part = tree
            for name in path[:-1]:
                part = part.setdefault(name, {})
            part[path[-1]] = value
        return tree

    def run(self, training: bool, values: Sequence[Any], args: Any, named: Any) -> tuple[Any, list[Any]]:
        count = len(self.places)
        keys = {name: jax.random.wrap_key_data(key, impl="threefry2x32")
                for name, key in zip(self.streams, values[count:], strict=True)}
        made = self.module.apply(self._nested(values), *args, rngs=keys, mutable=self.mutable or False,
                                 **{**self.mode(training), **named})
        if not self.mutable:
            return made, [None] * len(values)
        outputs, changed = made
        after = _leaves(changed)
        news = [after.get(path, value) for path, value in zip(self.places, values)]  # noqa: B905 - as above
        return outputs, [None if new is value else new
                         for new, value in zip([*news, *values[count:]], values, strict=True)]

    def export(self, training: bool, values: Sequence[Any]) -> Any:
        return self._nested(values)
