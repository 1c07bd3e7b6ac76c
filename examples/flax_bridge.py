"""A flax net trained by zkynet, given back to flax, and trained on there.

    python examples/flax_bridge.py [--epochs 15]

An nnx net with batch norm and dropout learns scikit-learn's 1,797 digits of 8 x 8 pixels (a fifth is held out) in a
zkynet Trainer; then flax uses what was learned. The other way round, a zkynet net learns the same in flax's loop. Needs
flax: pip install -e .[flax,examples]
"""

from __future__ import annotations

import argparse
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from zkynet import data, nn, optim, train
from zkynet.interop.flax import from_nnx, to_nnx


class Net(nnx.Module):
    """Images of 64 pixels to ten logits."""

    def __init__(self, rngs: nnx.Rngs):
        self.wide, self.out = nnx.Linear(64, 64, rngs=rngs), nnx.Linear(64, 10, rngs=rngs)
        self.norm = nnx.BatchNorm(64, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.out(self.dropout(nnx.relu(self.norm(self.wide(x)))))


@nnx.jit
def flax_step(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    def loss(net: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(net(x), y).mean()

    value, gradients = nnx.value_and_grad(loss)(net)
    optimizer.update(net, gradients)
    return value


def accuracy(net: Any, images: np.ndarray, labels: np.ndarray) -> float:
    """Of an nnx module, by flax."""
    net.eval()
    return float(jnp.mean(jnp.argmax(net(images), axis=1) == labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
    digits = data.sklearn("digits")
    parts = data.split(digits, {"train": 0.8, "test": 0.2}, seed=0, stratify=True)
    images, labels = (np.asarray(array)[parts["train"].indices] for array in digits.arrays)
    unseen = [np.asarray(array)[parts["test"].indices] for array in digits.arrays]

    flax_net = Net(nnx.Rngs(0))
    print(f"flax net, before: accuracy {100 * accuracy(flax_net, *unseen):.1f}%")
    net = from_nnx(flax_net, images[:2], open=True).train()
    trainer = train.Trainer(net, nn.CrossEntropyLoss(), optim.Adam(lr=3e-3), metrics=["accuracy"])
    trainer.fit(parts["train"], validation=parts["test"], epochs=options.epochs, batch_size=32, progress=False)
    learned = accuracy(net.to_flax(), *unseen)
    print(f"flax net, trained by zkynet, used by flax: accuracy {100 * learned:.1f}%")

    nn.manual_seed(0)
    own = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
    twin = to_nnx(own, images[:2])
    optimizer = nnx.Optimizer(twin, optax.adam(3e-3), wrt=nnx.Param)
    rng = np.random.default_rng(0)
    for _ in range(options.epochs):
        for batch in np.split(rng.permutation(len(labels))[: len(labels) // 32 * 32], len(labels) // 32):
            flax_step(twin, optimizer, images[batch], labels[batch])
    own.load_state_dict(twin.state_dict())
    taught = float(np.mean(np.argmax(own.eval()(unseen[0]).value, axis=1) == unseen[1]))
    print(f"zkynet net, trained by flax, used by zkynet: accuracy {100 * taught:.1f}%")
    assert min(learned, taught) >= 0.95, "one of the nets did not learn"


if __name__ == "__main__":
    main()
