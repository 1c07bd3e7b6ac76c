"""A PyTorch model as TorchScript, trained by RavDL: a convolutional net on handwritten digits."""

import os

import numpy as np
import ravop as R
import torch
from ravdl.v2 import Pytorch_Model
from ravdl.v2.optimizers import Adam
from ravdl.v2.utils.data_manipulation import batch_iterator
from raven_data import digits, to_categorical


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 8, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(8)
        self.pool = torch.nn.MaxPool2d(2)
        self.fc1 = torch.nn.Linear(128, 48)
        self.drop = torch.nn.Dropout(0.1)
        self.fc2 = torch.nn.Linear(48, 10)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn(self.conv(x))))
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        return torch.softmax(self.fc2(self.drop(x)), dim=-1)


torch.manual_seed(0)
torch.jit.script(Net()).save("test_model.pt")

R.initialize(ravenverse_token=os.environ.get("TOKEN"))
R.flush()
R.Graph(name='test_pytorch_model', algorithm='pytorch_model', approach='distributed', gpu_required="yes")

X, X_test, y, y_test = digits()

model_op = R.model('test_model.pt')
optimizer = Adam(lr=0.006)
model = Pytorch_Model(model_op=model_op)
model.initialize(optimizer)

epochs = 8
for epoch in range(1, epochs + 1):
    for X_batch, y_batch in batch_iterator(X, to_categorical(y), batch_size=128):
        X_t = R.t(X_batch.astype(np.float32))
        y_t = R.t(y_batch.astype(np.float32))
        out = model._forward_pass(X_t)
        loss = R.square_loss(y_t, out)
        model._backward_pass(loss, step=True)
    loss.persist_op(f"loss_{epoch}")

model.save_model(name='my_net')
output = model._forward_pass(R.t(X_test.astype(np.float32)), training=False)
output.persist_op("output")

R.activate()
R.execute()
R.track_progress()

prediction = R.fetch_persisting_op(op_name="output")
y_pred = np.argmax(prediction.detach().numpy(), axis=-1)

my_net = R.fetch_persisting_op(op_name="my_net")
my_net.eval()
out = my_net(torch.tensor(X_test.astype(np.float32)))
print("Difference:", np.abs(out.detach().numpy() - prediction.numpy()).max())
print("Accuracy of loaded model:", np.mean(np.argmax(out.detach().numpy(), axis=-1) == y_test))
print("Accuracy:", np.mean(y_pred == y_test))
