"""k nearest neighbours with ravop's functions alone: iris flowers."""

import os

import ravop as R
from raven_data import iris


class KNNClassifier:
    def __init__(self, n_neighbours):
        self.k = n_neighbours

    def fit(self, X, y):
        self.X, self.y = R.t(X), R.t(y)

    def distances(self, X):
        X = R.expand_dims(X, axis=1)
        return R.square_root(R.sub(X, self.X).pow(R.t(2)).sum(axis=2))

    def predict(self, X):
        d_list = self.distances(R.Tensor(X))
        nearest = d_list.foreach(operation='sort').foreach(operation='slice', begin=0, size=self.k)
        labels = R.Tensor([])
        for i in range(len(X)):
            row = d_list.gather(R.t([i])).squeeze()
            values = nearest.gather(R.t([i])).squeeze()
            positions = row.find_indices(values).foreach(operation='slice', begin=0, size=1)
            neighbours = R.gather(self.y, positions.reshape(shape=[self.k]))
            labels = labels.concat(R.mode(neighbours))
        return labels


def accuracy(y_true, y_pred):
    if not isinstance(y_true, R.Tensor):
        if not isinstance(y_true, R.Op):
            y_true = R.Tensor(y_true, name="y_true")
    return R.div(R.sum(R.equal(y_pred, y_true)), y_pred.shape())


if __name__ == '__main__':
    R.initialize(ravenverse_token=os.environ.get("TOKEN"))
    R.flush()
    R.Graph(name='knn', algorithm='k-nearest neighbours', approach='distributed')

    X, X_test, y, y_test = iris()
    model = KNNClassifier(n_neighbours=5)
    model.fit(X, y)
    labels = model.predict(X_test)
    labels.persist_op(name="test_prediction")
    accuracy(y_test, labels).persist_op(name="score")

    R.activate()
    R.execute()
    R.track_progress()

    print("Test Prediction : ", R.fetch_persisting_op(op_name="test_prediction"))
    score = R.fetch_persisting_op(op_name="score")
    print("Accuracy:", float(score[0]))
