"""RavDL v1, second part: execute what the first has activated."""

import os

import numpy as np
import ravop as R
from dotenv import load_dotenv
from raven_data import iris
from sklearn.metrics import accuracy_score

load_dotenv()

R.initialize(ravenverse_token=os.environ.get("TOKEN"))
R.get_my_graphs()

R.execute()
R.track_progress()

for epoch_no in (1, 20):
    for batch_no in range(1, 5):
        batch_loss = R.fetch_persisting_op(op_name=f"training_loss_epoch_{epoch_no}_batch_{batch_no}")
        print("epoch", epoch_no, "batch", batch_no, "loss", float(batch_loss))

X, X_test, y, y_test = iris()
y_test_pred = R.fetch_persisting_op(op_name="test_prediction")
np.save("test_prediction.npy", y_test_pred)
print("Accuracy:", accuracy_score(y_test, np.argmax(y_test_pred, axis=1)))
