"""Elementwise operators: one row each, `name = elementwise(name, body, rule for each input, doc=equation)`."""

from __future__ import annotations

import jax.numpy as jnp

from ..nodes import Engine
from .registry import elementwise

add = elementwise("add", lambda a, b: jnp.add(a, b), lambda g, y, a, b: g, lambda g, y, a, b: g, doc="y = a + b")
mult = elementwise("mult", lambda a, b: jnp.multiply(a, b), lambda g, y, a, b: g * b, lambda g, y, a, b: g * a,
                   doc="y = a b")
square = elementwise("square", lambda x: jnp.square(x), lambda g, y, x: g * (x * 2.0), doc="y = x^2")
identity = elementwise("identity", lambda x: x, lambda g, y, x: g, doc="y = x")
sin = elementwise("sin", lambda x: jnp.sin(x), lambda g, y, x: g * cos(x), doc="y = sin x")
cos = elementwise("cos", lambda x: jnp.cos(x), lambda g, y, x: -(g * sin(x)), doc="y = cos x")
negative = elementwise("negative", lambda x: jnp.negative(x), lambda g, y, x: -g, doc="y = -x")

Engine.symbols.update(add=add, mult=mult, negative=negative, identity=identity)
