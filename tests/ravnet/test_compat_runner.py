"""The runner itself: what a script finds around it, how it ends, and ravpy on this machine."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_compat import Runner

import ravnet as R
from ravnet.compat import names
from ravnet.compat.runner import main
from ravnet.errors import StateError
from zkynet.framework.errors import InputError


@pytest.fixture
def run(tmp_path: Path, quickly: dict[str, str]) -> Runner:
    return Runner(tmp_path, quickly)


@pytest.fixture
def raven() -> Iterator[None]:
    """Raven's module names in this process, for one test."""
    names.install()
    yield
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, names.RavenFinder)]
    for name in [*names.MODULES, "ravop", "ravdl", "ravpy"]:
        sys.modules.pop(name, None)


def write(run: Runner, name: str, text: str) -> Path:
    path = run.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


# What a script finds ----------------------------------------------------------------------------------------

# module: names that scripts import from it.
NAMES = {
    "ravop": "initialize flush Graph activate execute track_progress fetch_persisting_op get_my_graphs t Tensor Scalar "
             "Op model epsilon one minus_one inf pi matmul square_loss cross_entropy_loss kmeans federated_mean sum "
             "index",
    "ravop.core": "t Tensor Scalar Graph",
    "ravdl.v2": "NeuralNetwork Functional Pytorch_Model",
    "ravdl.v2.layers": "Layer CustomLayer Dense BatchNormalization1D BatchNormalization2D LayerNormalization Dropout "
                       "Activation Conv2D Flatten MaxPooling2D Embedding Concat Add Subtract Dot Reshape Transpose "
                       "Power Multiply Division",
    "ravdl.v2.optimizers": "RMSprop Adam AdamW",
    "ravdl.v2.loss_functions": "SquareLoss CrossEntropy",
    "ravdl.v2.load_onnx_model": "load_onnx",
    "ravdl.v2.utils": "batch_iterator",
    "ravdl.v2.utils.data_manipulation": "batch_iterator",
    "ravdl.neural_networks": "NeuralNetwork",
    "ravdl.neural_networks.layers": "Dense Activation BatchNormalization Dropout Conv2D Flatten MaxPooling2D",
    "ravdl.neural_networks.optimizers": "RMSprop Adam",
    "ravdl.neural_networks.loss_functions": "SquareLoss CrossEntropy",
    "ravdl.neural_networks.load_onnx_model": "load_onnx",
    "ravdl.v1.layers": "Dense",
    "ravpy": "initialize participate",
    "ravpy.initialize": "initialize",
    "ravpy.utils": "list_graphs",
    "ravpy.distributed.participate": "participate",
    "ravpy.federated.participate": "participate",
}


@pytest.mark.parametrize("module", NAMES)
def test_a_module_of_raven_has_its_names(raven: None, module: str):
    found = importlib.import_module(module)
    for name in NAMES[module].split():
        assert callable(getattr(found, name)), name
        assert name in found.__all__
        assert not isinstance(getattr(found, name), type(sys)), name


def test_every_module_name_can_be_imported(raven: None):
    for name in names.MODULES:
        assert importlib.import_module(name).__name__ == name
    import ravpy  # pyright: ignore[reportMissingImports] - provided by the fixture
    from ravpy.initialize import initialize  # pyright: ignore[reportMissingImports]

    assert ravpy.initialize is initialize  # the function, though a module of that name was imported


def test_a_missing_module_or_name_is_told(raven: None):
    with pytest.raises(ModuleNotFoundError, match=r"no module that stands for 'ravdl.v3'; it has: .*ravdl.v2.layers"):
        importlib.import_module("ravdl.v3")
    with pytest.raises(ImportError, match="cannot import name 'Nothing' from 'ravop'"):
        exec("from ravop import Nothing")


def test_ops_are_instances_of_what_made_them(raven: None, home: Path):
    ravop = importlib.import_module("ravop")
    ravop.initialize("token")
    ravop.Graph(name="kinds", algorithm="test", approach="distributed")
    tensor, scalar = ravop.Tensor([1, 2], name="x"), ravop.Scalar(3, name="s")
    for op in (tensor, scalar, tensor + scalar, ravop.t(1)):
        assert isinstance(op, ravop.Op) and isinstance(op, ravop.Tensor) and isinstance(op, ravop.Scalar)
    assert not isinstance(np.ones(2), ravop.Tensor)
    assert (tensor.get_shape(), scalar.get_shape()) == ((2,), ())


SURROUNDINGS = """
import os, pickle, sys
import numpy as np
from numpy import float as old_float
import numpy.linalg
import helper
from sklearn.datasets import load_iris

class Thing:
    def __init__(self): self.value = np.cast['float32'](3)

assert __name__ == '__main__' and __doc__ is None
assert os.path.basename(__file__) == 'surroundings.py' == os.path.basename(sys.argv[0])
assert sys.argv[1:] == ['--flag', 'value']
assert os.path.samefile(sys.path[0], os.path.dirname(__file__)) and os.getcwd() not in sys.path
assert pickle.loads(pickle.dumps(Thing())).value.dtype == np.float32
assert (np.float, np.bool, np.int, old_float) == (float, bool, int, float)
assert np.asfarray([1]).dtype == np.float64 and np.Inf == np.inf and np.alltrue([1, 2])
assert np.linalg.norm(np.array([3.0, 4.0])) == 5 and isinstance(np.ones(1), np.ndarray)
assert helper.old is float
assert load_iris().data.shape == (150, 4)
import sklearn.utils.validation as theirs
assert not hasattr(theirs.np, 'cast') and theirs.np is sys.modules['numpy']
print('token', os.environ['TOKEN'], os.environ['OTHER'])
sys.exit(7)
"""


def test_a_script_finds_itself_its_folder_its_environment_and_old_numpy(run: Runner):
    write(run, "folder/helper.py", "import numpy as np\nold = np.float\n")
    write(run, "folder/.env", "TOKEN=of the file\nOTHER=of the file\n")
    script = write(run, "folder/surroundings.py", SURROUNDINGS)
    done = run.start(script, "--flag", "value", TOKEN="of the caller")
    assert done.returncode == 7, done.stderr
    assert done.stdout.strip() == "token of the caller of the file"


def test_a_script_behind_a_link_has_old_numpy(run: Runner):
    script = write(run, "folder/script.py", "import numpy as np, helper\nassert np.float is helper.old is float\n")
    write(run, "folder/helper.py", "import numpy as np\nold = np.float\n")
    link = run.folder / "link.py"
    link.symlink_to(script)
    done = run.start(link)
    assert done.returncode == 0, done.stderr


def test_an_error_shows_the_script_alone_and_its_graph_is_finished(run: Runner):
    write(run, "helper.py", "def fail(x):\n    raise ValueError(f'bad {x}')\n")
    script = write(run, "failing.py", "import ravop as R\nimport helper\nR.initialize('token')\n"
                   "R.Graph(name='g', algorithm='a', approach='distributed')\n"
                   "(R.t([1.0, 2.0]) * 3).sum().persist_op(name='total')\nR.activate()\nR.execute()\n"
                   "try:\n    helper.fail(1)\nexcept ValueError:\n    helper.fail(2)\n")
    done = run.start(script)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n  File "), done.stderr
    assert f'File "{script}", line 9, in <module>' in done.stderr
    assert f'File "{run.folder / "helper.py"}", line 2, in fail' in done.stderr
    assert "During handling of the above exception" in done.stderr
    assert done.stderr.endswith("ValueError: bad 2\n")
    assert "compat" not in done.stderr.replace(str(run.folder), "")
    later = write(run, "later.py", "import ravop as R\nR.initialize('token')\n"
                  "print(R.fetch_persisting_op(op_name='total'))\n")
    assert run.start(later).stdout == "9.0\n"


def test_a_script_that_python_cannot_read_is_refused_as_by_python(run: Runner):
    done = run.start(write(run, "broken.py", "x = (1\n"))
    assert done.returncode == 1
    assert done.stderr.startswith(f'  File "{run.folder / "broken.py"}", line 1\n'), done.stderr
    assert "SyntaxError: '(' was never closed" in done.stderr


def test_wrong_arguments(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 2
    assert main(["--help"]) == 0
    assert "usage: python -m ravnet.compat SCRIPT.py [ARGS]" in capsys.readouterr().out
    assert main(["nowhere.py"]) == 2
    assert capsys.readouterr().err == "ravnet.compat: there is no script nowhere.py\n"


# ravpy ------------------------------------------------------------------------------------------------------


def test_a_provider_computes_what_a_requester_activated(run: Runner):
    requester = write(run, "requester.py", "import os\nimport ravop as R\nR.initialize(os.environ['TOKEN'])\n"
                      "R.Graph(name='shared', algorithm='a', approach='distributed')\n"
                      "R.t([1, 2, 3]).sum().persist_op(name='total')\nR.activate()\n")
    provider = write(run, "provider.py", "import os\nfrom ravpy import participate\n"
                     "from ravpy.initialize import initialize\nfrom ravpy.utils import list_graphs\n"
                     "client = initialize(os.environ['TOKEN'])\nassert client.connected\n"
                     "rows = list_graphs(approach='distributed')\n"
                     "info = participate(graph_id=rows[0]['id'])\nassert info.status == 'computed'\n"
                     "import ravop as R\nprint('total', R.fetch_persisting_op('total', graph_id=info.id))\n")
    assert run.start(requester).returncode == 0
    done = run.start(provider)
    assert done.returncode == 0, done.stderr
    assert "shared  distributed  a" in done.stdout and "100 %" in done.stdout
    assert done.stdout.endswith("total 6\n")


def ready(name: str) -> None:
    R.Graph(name=name, algorithm="a")
    (R.t([1.0, 2.0]) * 2).persist_op(name=name)
    R.activate()


def test_participate_takes_the_oldest_graph_that_waits(home: Path, raven: None, capsys: pytest.CaptureFixture[str]):
    provider = importlib.import_module("ravpy.distributed.participate")
    R.initialize("someone")
    ready("first")
    ready("second")
    assert provider.participate(token="someone").about["name"] == "first"
    assert provider.participate().about["name"] == "second"
    with pytest.raises(StateError, match="no distributed graph of the account waits for participants: .*R.activate"):
        provider.participate(token="someone")
    first = provider.list_graphs()[0]["id"]
    capsys.readouterr()
    assert provider.participate("someone", first).status == "computed"
    assert capsys.readouterr().out == f"graph {first} is computed already\n"
    with pytest.raises(StateError, match="no graph 77"):
        provider.participate(graph_id=77)
    with pytest.raises(StateError, match=f"no graph {first}"):
        provider.participate(token="somebody else", graph_id=first)


# Calls that RavDL's scripts make ----------------------------------------------------------------------------


CALLS = """
import numpy as np
import ravop as R
from ravdl.v2 import Functional, NeuralNetwork
from ravdl.v2.layers import *
from ravdl.v2.optimizers import *
R.initialize('token')
R.flush()
R.Graph(name='calls', algorithm='test', approach='distributed')
data = np.arange(24.0).reshape(2, 3, 4)
x = R.t(data)
"""


@pytest.fixture
def space(raven: None, home: Path) -> dict:
    found: dict = {}
    exec(CALLS, found)
    return found


AT_CALL = {
    "Transpose()._forward_pass(x, axes=(-2, -1))": lambda data: data.transpose(0, 2, 1),
    "Transpose((0, 1))._forward_pass(x)": lambda data: data.transpose(1, 0, 2),
    "Transpose(axes=(0, 1))._forward_pass(x, axes=(1, 2))": lambda data: data.transpose(0, 2, 1),
    "Reshape()._forward_pass(x, shape=(2, -1))": lambda data: data.reshape(2, 12),
    "Reshape(contiguous='True')._forward_pass(x, shape=(4, -1), training=False)": lambda data: data.reshape(4, 6),
    "Reshape(shape=(2, -1))._forward_pass(x)": lambda data: data.reshape(2, 12),
    "Power()._forward_pass(x, power=3)": lambda data: data**3,
    "Power(2)._forward_pass(x)": lambda data: data**2,
    "Power()._forward_pass(x, R.t(2.0))": lambda data: data**2,
    "Concat()._forward_pass(x, x, axis=-1)": lambda data: np.concatenate([data, data], -1),
    "Concat(1)._forward_pass([x, x])": lambda data: np.concatenate([data, data], 1),
    "Concat()._forward_pass(x, x)": lambda data: np.concatenate([data, data], 0),
}


def test_layers_take_their_arguments_with_the_call(space: dict):
    for text in AT_CALL:
        eval(text, space).persist_op(name=text)
    R.activate()
    R.execute()
    R.track_progress()
    for text, judge in AT_CALL.items():
        np.testing.assert_allclose(R.fetch_persisting_op(op_name=text), judge(space["data"]), err_msg=text)


def test_what_is_missing_at_a_call_is_told(space: dict):
    with pytest.raises(InputError, match="Transpose needs axes=, here or in its constructor"):
        eval("Transpose()._forward_pass(x)", space)
    with pytest.raises(TypeError, match="unexpected keyword argument 'axes'"):
        eval("Concat()._forward_pass(x, x, axes=1)", space)


MODEL = """
class Model(Functional):
    def __init__(self, optimizer):
        super().__init__()
        self.heads, self.dense = Reshape(), Dense(5)
        self.initialize_params(optimizer)
    def _forward_pass_call(self, x, training=True):
        return self.dense._forward_pass(self.heads._forward_pass(x, shape=(2, -1)))

model = Model(Adam())
model._forward_pass(x)
"""


def test_a_layer_without_arguments_is_named_shown_and_pickled(space: dict, capsys: pytest.CaptureFixture[str]):
    exec(MODEL, space)
    model = space["model"]
    model.summary()
    shown = capsys.readouterr().out
    assert "| Reshape_1 | 0          | (12,)        |" in shown and shown.endswith("Total parameters: 65\n")
    assert pickle.loads(pickle.dumps(model.heads))._forward_pass(space["x"], shape=(6, 4)).get_shape() == (6, 4)


def test_test_on_batch_of_inputs_alone_predicts(space: dict):
    exec("net = NeuralNetwork(optimizer='adam', loss='SquareLoss')\nnet.add(Dense(2, input_shape=(4,)))", space)
    assert eval("net.test_on_batch(x)", space).get_shape() == (2, 3, 2)
    assert eval("net.test_on_batch(x, R.t(np.ones((2, 3, 2))))", space).get_shape() == ()
