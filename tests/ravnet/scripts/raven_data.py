"""Data sets that the scripts share, split once and for all."""

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split


def to_categorical(labels, columns=None):
    if not columns:
        columns = np.amax(labels) + 1
    one_hot = np.zeros((labels.shape[0], columns))
    one_hot[np.arange(labels.shape[0]), labels] = 1
    return one_hot


def iris():
    X, y = datasets.load_iris(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return train_test_split(X, y.astype(np.int), test_size=0.33, random_state=42)


def digits():
    X, y = datasets.load_digits(return_X_y=True)
    X = np.asfarray(X / 16.0).reshape((-1, 1, 8, 8))
    return train_test_split(X, y, test_size=0.4, random_state=1)


def diabetes():
    X, y = datasets.load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    X = X / X.std(axis=0)
    return train_test_split(X, y, test_size=0.3, random_state=0)
