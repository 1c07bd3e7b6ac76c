"""The learners that run on the executor: iris flowers and the progression of diabetes."""

import os

import numpy as np
import ravop as R
from raven_data import diabetes, iris

R.initialize(ravenverse_token=os.environ.get("TOKEN"))
R.flush()
R.Graph(name='learners', algorithm='classification and regression', approach='distributed')

X, X_test, y, y_test = [R.t(part) for part in iris()]
R.logistic_regression(X, y, X_test).persist_op(name="logistic_regression")
R.knn_classifier(X, y, X_test, k=5).persist_op(name="knn_classifier")
R.naive_bayes(X, y, X_test).persist_op(name="naive_bayes")
R.svm_svc(X, y, X_test, kernel='rbf').persist_op(name="svm_svc")
R.decision_tree_classifier(X, y, X_test).persist_op(name="decision_tree_classifier")
R.random_forest_classifier(X, y, X_test, n_estimators=20).persist_op(name="random_forest_classifier")
R.kmeans(X, X_test, n_clusters=3).persist_op(name="kmeans")

X, X_test, y, targets = [R.t(part) for part in diabetes()]
R.linear_regression(X, y, X_test).persist_op(name="linear_regression")
R.knn_regressor(X, y, X_test, k=9).persist_op(name="knn_regressor")
R.svm_svr(X, y, X_test, kernel='linear').persist_op(name="svm_svr")
R.decision_tree_regressor(X, y, X_test).persist_op(name="decision_tree_regressor")
R.random_forest_regressor(X, y, X_test, n_estimators=20, max_depth=4).persist_op(name="random_forest_regressor")

R.activate()
R.execute()
R.track_progress()

names = ["logistic_regression", "knn_classifier", "naive_bayes", "svm_svc", "decision_tree_classifier",
         "random_forest_classifier", "kmeans", "linear_regression", "knn_regressor", "svm_svr",
         "decision_tree_regressor", "random_forest_regressor"]
np.savez("learners.npz", **{name: np.array(R.fetch_persisting_op(op_name=name)) for name in names})
truth = iris()[3]
print("Accuracy:", np.mean(np.array(R.fetch_persisting_op("logistic_regression")) == truth))
