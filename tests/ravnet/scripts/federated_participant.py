"""An office, which takes part in the account's federated graph: python federated_participant.py TABLE.csv."""

import os
import sys

from ravpy.federated.participate import participate
from ravpy.initialize import initialize
from ravpy.utils import list_graphs

initialize(os.environ.get("TOKEN"))
graph = list_graphs(approach="federated")[-1]
participate(graph_id=graph["id"], file_path=sys.argv[1])
