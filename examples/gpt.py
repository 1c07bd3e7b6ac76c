"""A small GPT that writes sonnets, trained in the define-by-run loop.

    python examples/gpt.py [--text FILE] [--quick]

Every turn of the loop calls the model on a batch, which makes a fresh graph, and `opt.step(loss)` runs forward,
backward and update as one compiled program. The text is that of char_rnn.py, and so are the baselines that the held-out
loss is compared with. New text is generated with a cache of keys and values, by one program for all letters. Leaves in
the output folder: sample.txt, weights.safetensors.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from char_rnn import SONNETS, baselines

from zkynet import data, models, nn, optim, train


def main(arguments: list[str] | None = None) -> float:
    """Train, print a sample, and give the loss on the held-out text."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text", type=Path, default=SONNETS)
    parser.add_argument("--quick", action="store_true", help="a small net, few steps")
    parser.add_argument("--width", type=int, default=None, help="128; 64 with --quick")
    parser.add_argument("--layers", type=int, default=None, help="4; 2 with --quick")
    parser.add_argument("--steps", type=int, default=None, help="1500; 250 with --quick")
    parser.add_argument("--context", type=int, default=None, help="64; 32 with --quick")
    parser.add_argument("--prompt", default=None, help="the text's first letters by default")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/gpt"))
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    text = options.text.read_text(encoding="utf-8")
    letters = data.Vocabulary(text)
    prompt = letters.encode(options.prompt or text[:20])
    training, held_out = data.cut(letters.encode(text), validation=0.1)
    steps, context = options.steps or (250 if options.quick else 1500), options.context or (32 if options.quick else 64)

    nn.manual_seed(options.seed)
    net = models.GPT(len(letters), context, options.width or (64 if options.quick else 128),
                     options.layers or (2 if options.quick else 4), heads=4, dropout=0.0 if options.quick else 0.2)
    loss_of = models.SequenceLoss()
    schedule = optim.OneCycle(5e-3 if options.quick else 2e-3, total_steps=steps, pct_start=0.1)
    opt = optim.AdamW(net.parameters(), lr=schedule, weight_decay=0.1, clip_norm=1.0)
    rng = np.random.default_rng(options.seed)
    places = np.arange(context + 1)

    for step in range(steps):
        batch = training[rng.integers(0, len(training) - context, 32)[:, None] + places]
        loss = loss_of(net(batch[:, :-1]), batch[:, 1:])
        opt.step(loss)
        if step % 100 == 0:
            print(f"step {step:5d}   loss {float(loss.value):.3f}   {time.perf_counter() - start:.0f} s", flush=True)

    held = train.Trainer(net, loss_of, opt).evaluate(data.Windows(held_out, context))["loss"]
    options.out.mkdir(parents=True, exist_ok=True)
    train.save_weights(net, options.out / "weights.safetensors")
    written = net.generate(prompt[None], 500, options.temperature, seed=options.seed)
    sample = letters.decode(written[0])
    (options.out / "sample.txt").write_text(sample, encoding="utf-8")
    unigram, bigram = baselines(training, held_out, len(letters))
    print(f"\n{sample}\n\nheld-out loss {held:.3f} nats a letter; unigrams {unigram:.3f}, bigrams {bigram:.3f}; "
          f"{time.perf_counter() - start:.0f} s, results are in {options.out}/")
    return held


if __name__ == "__main__":
    main()
