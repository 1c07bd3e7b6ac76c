"""An LSTM that writes sonnets, letter by letter.

    python examples/char_rnn.py [--text FILE] [--quick]

Trained on 54 of Shakespeare's sonnets (examples/data/sonnets.txt, in the public domain), or on any text file. The last
tenth is held out; the loss there, in nats a letter, is compared with how often letters occur (unigrams) and what they
follow (bigrams) in the rest. Leaves in the output folder: sample.txt, curves.png, log.csv, weights.safetensors.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from zkynet import data, models, nn, optim, train

SONNETS = Path(__file__).parent / "data" / "sonnets.txt"


def baselines(training: np.ndarray, held_out: np.ndarray, size: int) -> tuple[float, float]:
    """Nats a letter of unigrams and bigrams counted in one sequence (each one more than seen), in another."""
    unigrams = np.bincount(training, minlength=size) + 1.0
    bigrams = np.ones((size, size))
    np.add.at(bigrams, (training[:-1], training[1:]), 1.0)
    probabilities = bigrams / bigrams.sum(axis=1, keepdims=True)
    return (float(-np.log(unigrams / unigrams.sum())[held_out].mean()),
            float(-np.log(probabilities[held_out[:-1], held_out[1:]]).mean()))


def main(arguments: list[str] | None = None) -> float:
    """Train, print a sample, and give the loss on the held-out text."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text", type=Path, default=SONNETS)
    parser.add_argument("--quick", action="store_true", help="a small net, few epochs")
    parser.add_argument("--width", type=int, default=None, help="192; 96 with --quick")
    parser.add_argument("--epochs", type=int, default=None, help="10; 5 with --quick")
    parser.add_argument("--prompt", default=None, help="the text's first letters by default")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/char_rnn"))
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    text = options.text.read_text(encoding="utf-8")
    letters = data.Vocabulary(text)
    prompt = letters.encode(options.prompt or text[:20])
    training, held_out = data.cut(letters.encode(text), validation=0.1)
    epochs, width = options.epochs or (5 if options.quick else 10), options.width or (96 if options.quick else 192)

    nn.manual_seed(options.seed)
    net = models.CharRNN(len(letters), width, layers=1, dropout=0.0 if options.quick else 0.5)
    windows = data.Windows(training, length=64, stride=16)
    schedule = optim.OneCycle(1e-2 if options.quick else 5e-3, total_steps=epochs * -(-len(windows) // 32))
    trainer = train.Trainer(net, models.SequenceLoss(), optim.Adam(lr=schedule, clip_norm=1.0), seed=options.seed)
    trainer.fit(windows, validation=data.Windows(held_out, length=64), epochs=epochs, batch_size=32,
                callbacks=[train.CSVLog(options.out / "log.csv"), train.Curves(options.out / "curves.png")])
    loss = trainer.history.last["val_loss"]
    train.save_weights(net, options.out / "weights.safetensors")
    written = net.sample(prompt[None], 500, options.temperature, seed=options.seed)
    sample = letters.decode(written[0])
    (options.out / "sample.txt").write_text(sample, encoding="utf-8")
    unigram, bigram = baselines(training, held_out, len(letters))
    print(f"{sample}\n\nheld-out loss {loss:.3f} nats a letter; unigrams {unigram:.3f}, bigrams {bigram:.3f}; "
          f"{time.perf_counter() - start:.0f} s, results are in {options.out}/")
    return loss


if __name__ == "__main__":
    main()
