"""RavDL v2, functional: iris flowers, with layers of our own."""

import os

import numpy as np
import ravop as R
from ravdl.v2 import Functional
from ravdl.v2.layers import Activation, Add, BatchNormalization1D, CustomLayer, Dense, Dropout
from ravdl.v2.optimizers import Adam
from ravdl.v2.utils import batch_iterator
from raven_data import iris, to_categorical
from sklearn.metrics import accuracy_score

R.initialize(ravenverse_token=os.environ["TOKEN"])
R.flush()
R.Graph(name='ann', algorithm='neural_network', approach='distributed')

X, X_test, y, y_test = iris()
n_hidden, n_features = 15, X.shape[1]


class Entrance(CustomLayer):
    def __init__(self) -> None:
        super().__init__()
        self.d1 = Dense(n_hidden, input_shape=(n_features,))
        self.bn1 = BatchNormalization1D(momentum=0.1, epsilon=0.01)

    def _forward_pass_call(self, input, training=True):
        o = self.d1._forward_pass(input)
        o = self.bn1._forward_pass(o, training=training)
        return o


class Residual(CustomLayer):
    def __init__(self, width) -> None:
        super().__init__()
        self.d1 = Dense(30)
        self.act = Activation('relu')
        self.dropout = Dropout(0.1)
        self.d2 = Dense(width)
        self.add = Add()

    def _forward_pass_call(self, input, training=True):
        o = self.d1._forward_pass(input)
        o = self.act._forward_pass(o)
        o = self.dropout._forward_pass(o, training=training)
        o = self.d2._forward_pass(o)
        return self.add._forward_pass(input, o)


class ANNModel(Functional):
    def __init__(self, optimizer):
        super().__init__()
        self.entrance = Entrance()
        self.blocks = [Residual(n_hidden) for _ in range(2)]
        self.out = Dense(3)
        self.act = Activation('softmax')
        self.initialize_params(optimizer)

    def _forward_pass_call(self, input, training=True):
        o = self.entrance._forward_pass(input, training=training)
        for block in self.blocks:
            o = block._forward_pass(o, training=training)
        o = self.out._forward_pass(o)
        return self.act._forward_pass(o)


optimizer = Adam(lr=0.01)
model = ANNModel(optimizer)

epochs = 30
for i in range(epochs):
    for X_batch, y_batch in batch_iterator(X, to_categorical(y), batch_size=25):
        X_t = R.t(X_batch)
        y_t = R.t(y_batch)
        out = model._forward_pass(X_t)
        loss = R.square_loss(y_t, out)
        model._backward_pass(loss)
    loss.persist_op(name=f"loss_{i}")

out = model._forward_pass(R.t(X_test), training=False)
out.persist_op(name="prediction")

R.activate()
R.execute(participants=1)
R.track_progress()

print("loss:", R.fetch_persisting_op("loss_0"), R.fetch_persisting_op("loss_29"))
prediction = R.fetch_persisting_op(op_name="prediction")
y_pred = np.argmax(prediction['result'].detach().numpy(), axis=1)
print("Accuracy:", accuracy_score(y_test, y_pred))
