"""RavDL v1, first part: record the training of a net on iris flowers, and activate the graph."""

import os
import pickle as pkl

import ravop as R
from dotenv import load_dotenv
from ravdl.neural_networks import NeuralNetwork
from ravdl.neural_networks.layers import Activation, BatchNormalization, Dense, Dropout
from ravdl.neural_networks.loss_functions import SquareLoss
from ravdl.neural_networks.optimizers import RMSprop
from raven_data import iris, to_categorical

load_dotenv()

R.initialize(os.environ.get("TOKEN"))
R.flush()
algo = R.Graph(name='ann', algorithm='neural_network', approach='distributed')

X, X_test, y, y_test = iris()
n_samples, n_features = X.shape
n_hidden = 15

optimizer = RMSprop()
model = NeuralNetwork(optimizer=optimizer, loss=SquareLoss)
model.add(Dense(n_hidden, input_shape=(n_features,)))
model.add(BatchNormalization(momentum=0.9))
model.add(Activation('tanh'))
model.add(Dense(30))
model.add(Dropout(0.1))
model.add(Dense(3))
model.add(Activation('softmax'))
model.summary()

train_err = model.fit(X, to_categorical(y), n_epochs=20, batch_size=25, save_model=True)
pkl.dump(model, open("model.pkl", "wb"))

y_test_pred = model.predict(X_test)
y_test_pred.persist_op(name='test_prediction')

R.activate()
