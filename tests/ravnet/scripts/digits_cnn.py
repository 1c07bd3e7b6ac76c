"""RavDL v2, sequential: a convolutional net on handwritten digits."""

import os

import numpy as np
import ravop as R
from ravdl.v2 import NeuralNetwork
from ravdl.v2.layers import (
    Activation,
    BatchNormalization1D,
    BatchNormalization2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPooling2D,
)
from ravdl.v2.optimizers import Adam
from raven_data import digits, to_categorical

R.initialize(ravenverse_token=os.environ.get("TOKEN"))
R.flush()
R.Graph(name='cnn', algorithm='convolutional_neural_network', approach='distributed', gpu_required='no')

X, X_test, y, y_test = digits()

model = NeuralNetwork(optimizer=Adam(lr=0.005), loss='CrossEntropy')
model.add(Conv2D(in_channels=1, out_channels=8, kernel_size=(3, 3), padding='same', input_shape=(1, 8, 8)))
model.add(Activation('relu'))
model.add(MaxPooling2D(kernel_size=(2, 2), stride=2))
model.add(BatchNormalization2D(8, momentum=0.1))
model.add(Conv2D(in_channels=8, out_channels=16, kernel_size=(3, 3), padding='same'))
model.add(Activation('relu'))
model.add(Dropout(0.25))
model.add(Flatten())
model.add(Dense(64))
model.add(Activation('relu'))
model.add(BatchNormalization1D(momentum=0.1))
model.add(Dense(10))
model.summary()

model.fit(X, to_categorical(y), n_epochs=8, batch_size=128, persist_weights=True)
prediction = model.predict(R.t(X_test))
prediction.persist_op(name='prediction')

R.activate()
R.execute()
R.track_progress()

prediction = R.fetch_persisting_op(op_name="prediction")
y_pred = np.argmax(prediction['result'].detach().numpy(), axis=-1)
print("Accuracy:", np.sum(y_pred == y_test, axis=0) / len(y_test))
