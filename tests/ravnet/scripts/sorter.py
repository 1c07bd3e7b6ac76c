"""A GPT of CustomLayers learns to sort digits; what it generates is recorded in the graph."""

import os

import numpy as np
import ravop as R
from gpt_layers import GPT
from ravdl.v2.optimizers import Adam
from ravdl.v2.utils.data_manipulation import batch_iterator

digits, length = 3, 4
R.initialize(ravenverse_token=os.environ.get("TOKEN"))
R.flush()
R.Graph(name='gpt_sort', algorithm='transformer', approach='distributed')

# All sequences; every fifth is for the test.
sequences = np.array(np.meshgrid(*[range(digits)] * length)).reshape(length, -1).T
np.random.RandomState(1).shuffle(sequences)
test, train = sequences[::5], np.delete(sequences, slice(None, None, 5), axis=0)
both = np.concatenate([train, np.sort(train)], axis=1)
X_train, y_train = both[:, :-1], both[:, 1:].copy()
y_train[:, :length - 1] = -1  # the question itself is not to be predicted

model = GPT(vocab_size=digits, embed_dim=24, block_size=2 * length - 1, n_heads=2, n_layer=1, optimizer=Adam(lr=0.01))

for epoch in range(1, 41):
    for X_batch, y_batch in batch_iterator(X_train, y_train, batch_size=32):
        out = model._forward_pass(R.t(X_batch), training=True, batch_size=X_batch.shape[0], length=2 * length - 1)
        loss = R.cross_entropy_loss(R.t(y_batch), out, ignore_index=-1, reshape_target=(-1, digits),
                                    reshape_label=(-1,))
        model._backward_pass(loss)
    loss.persist_op(f"loss_{epoch}")


def generate(x, steps):
    x = R.t(x)
    for i in range(steps):
        outputs = model._forward_pass(x, training=False, batch_size=len(test), length=length + i)
        last = R.index(outputs, indices=str({"indices": "[:,-1,:]"}))
        token = R.argmax(last, axis=-1, keepdims="True")
        x = R.concat(x, token, axis=-1)
    x.persist_op('outputs')


generate(test, length)

R.activate()
R.execute()
R.track_progress()

output = np.array(R.fetch_persisting_op('outputs'))[:, length:]
print("loss:", R.fetch_persisting_op("loss_1"), "->", R.fetch_persisting_op("loss_40"))
print("Test Input: ", test[0])
print("Predicted: ", output[0])
print("Accuracy:", np.mean(np.all(output == np.sort(test), axis=1)))
