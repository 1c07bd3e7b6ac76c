"""Statistics of the ages and salaries of two offices, whose tables stay where they are."""

import json
import os

import ravop as R
from dotenv import load_dotenv

load_dotenv()
R.initialize(ravenverse_token=os.environ.get("TOKEN"))
R.flush()
R.Graph(name="Offices", algorithm="statistics", approach="federated",
        rules=json.dumps({"rules": {"salary": {"min": 1000, "max": 9000}, "age": {"min": 16}}, "max_clients": 2}))

mean = R.federated_mean()
variance = R.federated_variance()
deviation = R.federated_standard_deviation()
mean.persist_op(name="mean")
variance.persist_op(name="variance")
deviation.persist_op(name="deviation")

R.activate()
R.execute()
R.track_progress()

for name in ("mean", "variance", "deviation"):
    salary, age = R.fetch_persisting_op(op_name=name)
    print(name, "of salary:", salary, "of age:", age)
