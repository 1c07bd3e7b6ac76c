"""An ONNX file that PyTorch wrote, trained further by RavDL: handwritten digits."""

import os
import warnings

import numpy as np
import ravop as R
import torch
from ravdl.neural_networks.load_onnx_model import load_onnx
from ravdl.neural_networks.loss_functions import CrossEntropy
from ravdl.neural_networks.optimizers import Adam
from raven_data import digits, to_categorical

X, X_test, y, y_test = digits()

# A net that has seen little: one pass over a part of the data.
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 48), torch.nn.ReLU(), torch.nn.BatchNorm1d(48),
                          torch.nn.Linear(48, 10))
step = torch.optim.Adam(net.parameters(), lr=0.003)
for start in range(0, 320, 32):
    step.zero_grad()
    out = net(torch.tensor(X[start:start + 32].astype(np.float32)))
    torch.nn.functional.cross_entropy(out, torch.tensor(y[start:start + 32])).backward()
    step.step()
net.eval()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.onnx.export(net, (torch.tensor(X[:1].astype(np.float32)),), "pretrained.onnx", dynamo=False,
                      training=torch.onnx.TrainingMode.EVAL, input_names=["digits"], dynamic_axes={"digits": {0: "n"}})

R.initialize(ravenverse_token=os.environ.get("TOKEN"))
R.flush()
R.Graph(name='finetune', algorithm='neural_network', approach='distributed')

model = load_onnx(model_file_path="pretrained.onnx", optimizer=Adam(learning_rate=0.003), loss=CrossEntropy)
model.summary()

model.predict(X_test).persist_op(name='before')
model.fit(X, to_categorical(y), n_epochs=12, batch_size=64)
model.predict(X_test).persist_op(name='after')

R.activate()
R.execute()
R.track_progress()


def accuracy(name):
    return np.mean(np.argmax(R.fetch_persisting_op(op_name=name), axis=1) == y_test)


print("Accuracy before:", accuracy('before'))
print("Accuracy:", accuracy('after'))
