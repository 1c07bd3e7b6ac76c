"""Linear regression by gradient descent, with ravop's functions alone: progression of diabetes."""

import os

import numpy as np
import ravop as R
from raven_data import diabetes


class LinearRegression:
    def __init__(self, X, y):
        self.m = R.t(y.shape[0])
        self.X = R.t(np.c_[np.ones(X.shape[0]), X].tolist())
        self.y = R.t(y.reshape(-1, 1).tolist())
        self.theta = R.t(np.zeros((X.shape[1] + 1, 1)).tolist())

    def compute_cost(self):
        residual = self.X.dot(self.theta).sub(self.y)
        return (R.t(1).div(R.t(2).multiply(self.m))).multiply(residual.transpose().dot(residual))

    def gradient_descent(self, alpha, num_iters):
        alpha_ = R.t(alpha)
        for _ in range(num_iters):
            residual = self.X.dot(self.theta).sub(self.y)
            self.theta = self.theta.sub((alpha_.div(self.m)).multiply(self.X.transpose().dot(residual)))

    def predict(self, X):
        X = R.t(np.c_[np.ones(X.shape[0]), X])
        return X.dot(self.theta).squeeze()


def r2_score(y_true, y_pred):
    residual = R.sum(R.square(R.sub(y_pred, y_true)))
    total = R.sum(R.square(R.sub(y_true, R.mean(y_true))))
    return R.one() - residual / total


R.initialize(ravenverse_token=os.environ.get("TOKEN"))
R.flush()
R.Graph(name='lin_reg', algorithm='linear_regression', approach='distributed')

X, X_test, y, y_test = diabetes()
model = LinearRegression(X, y)
model.compute_cost().persist_op(name="first cost")
model.gradient_descent(alpha=0.3, num_iters=40)
model.compute_cost().persist_op(name="last cost")
model.theta.persist_op(name="theta")
r2_score(R.t(y_test), model.predict(X_test)).persist_op(name="score")

R.activate()
R.execute()
R.track_progress()

print("cost:", R.fetch_persisting_op("first cost"), R.fetch_persisting_op("last cost"))
print("Optimized Theta", R.fetch_persisting_op(op_name="theta"))
print("R2:", float(R.fetch_persisting_op(op_name="score")))
