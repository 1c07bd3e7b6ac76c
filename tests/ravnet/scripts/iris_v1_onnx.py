"""RavDL v1, third part: the trained model as an ONNX file, used by onnxruntime."""

import os
import pickle as pkl

import numpy as np
import onnxruntime as rt
import ravop as R
from dotenv import load_dotenv
from raven_data import iris
from sklearn.metrics import accuracy_score

load_dotenv()

R.initialize(ravenverse_token=os.environ.get("TOKEN"))

test_model = pkl.load(open("model.pkl", "rb"))
print("\n\n Pickle loaded model: \n")
test_model.summary()
test_model.get_onnx_model("test_ann")

sess = rt.InferenceSession("test_ann.onnx")
input_name = sess.get_inputs()[0].name
input_shape = sess.get_inputs()[0].shape
print(sess.run(None, {input_name: np.random.random((1, *input_shape[1:])).astype(np.float32)})[0])

X, X_test, y, y_test = iris()
prediction = sess.run(None, {input_name: X_test.astype(np.float32)})[0]
print("Difference:", np.abs(prediction - np.load("test_prediction.npy")).max())
print("Accuracy:", accuracy_score(y_test, np.argmax(prediction, axis=1)))
