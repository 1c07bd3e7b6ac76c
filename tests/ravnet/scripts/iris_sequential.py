"""RavDL v2, sequential: iris flowers."""

import os

import numpy as np
import ravop as R
from dotenv import load_dotenv
from ravdl.v2 import NeuralNetwork
from ravdl.v2.layers import Activation, BatchNormalization1D, Dense, Dropout
from ravdl.v2.optimizers import RMSprop
from raven_data import iris, to_categorical
from sklearn.metrics import accuracy_score

load_dotenv()

R.initialize(ravenverse_token=os.environ.get("TOKEN"))
R.flush()
R.Graph(name='iris', algorithm='neural_network', approach='distributed')

X, X_test, y, y_test = iris()
n_hidden = 15
n_features = X.shape[1]

model = NeuralNetwork(optimizer=RMSprop(), loss='SquareLoss', validation_data=(X_test, to_categorical(y_test)))
model.add(Dense(n_hidden, input_shape=(n_features,)))
model.add(BatchNormalization1D(momentum=0.1))
model.add(Activation('relu'))
model.add(Dense(30))
model.add(Dropout(0.1))
model.add(Dense(3))
model.add(Activation('softmax'))
model.summary()

model.fit(X, to_categorical(y), n_epochs=20, batch_size=25)

prediction = model.predict(X_test)
prediction.persist_op(name='test_prediction')

R.activate()
R.execute()
R.track_progress()

first = R.fetch_persisting_op(op_name="training_loss_epoch_1_batch_1")
last = R.fetch_persisting_op(op_name="training_loss_epoch_20_batch_4")
print("training loss:", first, "->", last)
print("validation loss:", R.fetch_persisting_op(op_name="validation_loss_epoch_20"))

prediction = R.fetch_persisting_op(op_name="test_prediction")
y_pred = np.argmax(prediction, axis=1)
print("Accuracy:", accuracy_score(y_test, y_pred))
