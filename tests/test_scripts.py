"""The shell scripts, with stand-ins for what is outside: the kaggle client and an installed environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUP = ROOT / "setup.sh"
DOWNLOAD = ROOT / "download_datasets.sh"

SETS = {
    "bostonhousing": "datasets download schirmerchad/bostonhoustingmlnd",
    "mnist": "competitions download digit-recognizer",
    "emotionalspeech": "datasets download uwrfkaggler/ravdess-emotional-speech-audio",
    "feedbackprize": "competitions download feedback-prize-2021",
    "mnist_sign_language": "datasets download datamunge/sign-language-mnist",
}

# Accepts what the real client accepts here: `kaggle datasets|competitions download NAME -p FOLDER`, and
# leaves one zip archive. BREAK names a set that fails half-way, REFUSE one whose rules are not accepted,
# SPOIL one whose archive arrives damaged.
KAGGLE = """#!{python} -I
import os, sys, zipfile
kind, verb, name, option, folder = sys.argv[1:]
assert (verb, option) == ("download", "-p") and os.path.isdir(folder)
with open(os.environ["CALLS"], "a") as calls:
    print(kind, verb, name, file=calls)
if name == os.environ.get("REFUSE"):
    sys.exit("403 Client Error: Forbidden for url: https://www.kaggle.com/api/v1/" + kind + "/" + name)
path = os.path.join(folder, name.split("/")[-1] + ".zip")
with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("sub/train.csv", "label,pixel0\\n")
if name in (os.environ.get("BREAK"), os.environ.get("SPOIL")):
    os.truncate(path, 20)
if name == os.environ.get("BREAK"):
    sys.exit("connection lost")
"""


def bash(*args: object, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", *map(str, args)], env=env, cwd=cwd, text=True, capture_output=True, timeout=60
    )


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class Kaggle:
    """A folder with the download script, and a closed world around it: PATH, HOME and a stand-in client."""

    def __init__(self, folder: Path):
        self.root = folder / "checkout"
        self.home = folder / "home"
        self.bin = folder / "bin"
        self.calls_file = folder / "calls"
        self.root.mkdir()
        self.home.mkdir()
        shutil.copy(DOWNLOAD, self.root)
        executable(self.bin / "kaggle", KAGGLE.format(python=sys.executable))
        executable(self.bin / "python3", f'#!/bin/sh\nexec "{sys.executable}" -I "$@"\n')
        # The system's own tools by name, so that no kaggle client of the machine is found.
        for tool in "bash chmod dirname grep ls mkdir mktemp mv rm rmdir tee".split():
            found = shutil.which(tool)
            assert found, f"{tool} is not on PATH"
            (self.bin / tool).symlink_to(found)

    def run(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        closed = {"PATH": str(self.bin), "HOME": str(self.home), "CALLS": str(self.calls_file)}
        return bash(self.root / DOWNLOAD.name, *args, env=closed | env, cwd=self.home)

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    def folders(self) -> list[str]:
        """Everything in datasets/, hidden leftovers included."""
        return sorted(os.listdir(self.root / "datasets"))


@pytest.fixture
def kaggle(tmp_path: Path) -> Kaggle:
    return Kaggle(tmp_path)


TOKEN = {"KAGGLE_API_TOKEN": "token"}


@pytest.mark.parametrize("script", [SETUP, DOWNLOAD], ids=lambda path: path.name)
def test_script_is_valid_bash(script: Path):
    assert bash("-n", script, env=dict(os.environ), cwd=ROOT).returncode == 0


def test_all_sets_are_downloaded_and_unpacked(kaggle: Kaggle):
    result = kaggle.run(**TOKEN)
    assert result.returncode == 0, result.stderr
    assert kaggle.calls() == list(SETS.values())
    assert kaggle.folders() == sorted(SETS)
    for folder in SETS:
        assert [p.name for p in (kaggle.root / "datasets" / folder).iterdir()] == ["sub"]
        assert (kaggle.root / "datasets" / folder / "sub" / "train.csv").read_text() == "label,pixel0\n"


def test_present_sets_are_skipped_and_empty_folders_filled(kaggle: Kaggle):
    (kaggle.root / "datasets" / "mnist").mkdir(parents=True)
    (kaggle.root / "datasets" / "mnist" / "train.csv").write_text("mine")
    (kaggle.root / "datasets" / "feedbackprize").mkdir()
    result = kaggle.run(**TOKEN)
    assert result.returncode == 0, result.stderr
    assert kaggle.calls() == [call for folder, call in SETS.items() if folder != "mnist"]
    assert (kaggle.root / "datasets" / "mnist" / "train.csv").read_text() == "mine"
    assert (kaggle.root / "datasets" / "feedbackprize" / "sub" / "train.csv").exists()
    assert "datasets/mnist: present, skipped" in result.stdout


def test_nothing_is_needed_when_all_sets_are_present(kaggle: Kaggle):
    for folder in SETS:
        (kaggle.root / "datasets" / folder / "sub").mkdir(parents=True)
    (kaggle.bin / "kaggle").unlink()
    assert kaggle.run().returncode == 0


def test_named_sets_only(kaggle: Kaggle):
    assert kaggle.run("mnist", "bostonhousing", **TOKEN).returncode == 0
    assert kaggle.folders() == ["bostonhousing", "mnist"]
    result = kaggle.run("imagenet", **TOKEN)
    assert result.returncode == 1
    assert "unknown data set: imagenet" in result.stderr


@pytest.mark.parametrize("fault", ["BREAK", "SPOIL"])
def test_half_failed_download_leaves_nothing_and_stops_nothing(kaggle: Kaggle, fault: str):
    result = kaggle.run(**TOKEN, **{fault: "digit-recognizer"})
    assert result.returncode == 1
    assert "Not downloaded: mnist." in result.stderr
    assert kaggle.calls() == list(SETS.values())
    assert kaggle.folders() == sorted(set(SETS) - {"mnist"})

    kaggle.calls_file.unlink()
    assert kaggle.run(**TOKEN).returncode == 0
    assert kaggle.calls() == [SETS["mnist"]]
    assert kaggle.folders() == sorted(SETS)


def test_unaccepted_competition_rules_are_named(kaggle: Kaggle):
    result = kaggle.run(**TOKEN, REFUSE="feedback-prize-2021")
    assert result.returncode == 1
    assert "https://www.kaggle.com/competitions/feedback-prize-2021/rules" in result.stderr
    assert kaggle.folders() == sorted(set(SETS) - {"feedbackprize"})


def test_missing_client(kaggle: Kaggle):
    (kaggle.bin / "kaggle").unlink()
    result = kaggle.run(**TOKEN)
    assert result.returncode == 1
    assert "pip install kaggle" in result.stderr
    assert not (kaggle.root / "datasets").exists()


def test_missing_credentials(kaggle: Kaggle):
    for half in ({}, {"KAGGLE_USERNAME": "me"}, {"KAGGLE_KEY": "secret"}):
        result = kaggle.run(**half)
        assert result.returncode == 1
        assert "has no credentials" in result.stderr
    assert not (kaggle.root / "datasets").exists()
    assert kaggle.calls() == []


@pytest.mark.parametrize(
    "file",
    [
        ".kaggle/kaggle.json",
        ".config/kaggle/kaggle.json",
        ".kaggle/access_token",
        ".kaggle/credentials.json",
    ],
)
def test_credentials_in_a_file(kaggle: Kaggle, file: str):
    path = kaggle.home / file
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert kaggle.run("mnist").returncode == 0


def test_credentials_in_the_environment(kaggle: Kaggle):
    assert kaggle.run("mnist", KAGGLE_USERNAME="me", KAGGLE_KEY="secret").returncode == 0


class Environment:
    """A checkout whose environment is installed already; its `python` writes down what it is asked to do."""

    def __init__(self, folder: Path):
        self.root = folder / "check out"
        self.venv = self.root / ".venv"
        self.calls_file = folder / "calls"
        self.root.mkdir()
        for name in ("setup.sh", "setup.py", "pyproject.toml"):
            shutil.copyfile(ROOT / name, self.root / name)
        executable(
            self.venv / "bin" / "python",
            '#!/bin/sh\nprintf "%s\\n" "$*" >>"$CALLS"\ncase "$*" in *" $FAIL"*) exit 3 ;; esac\n',
        )
        (self.venv / "pyvenv.cfg").touch()
        (self.venv / "bin" / "activate").write_text(f"ACTIVATED='{self.venv}'\n")
        installed = [f"{extra} {self.root}\n" for extra in ("core", "dev", "examples")]
        (self.venv / ".zkynet-setup").write_text("".join(installed))
        for name in ("setup.py", "pyproject.toml"):
            os.utime(self.root / name, (1, 1))

    def run(self, *args: object, fail: str = "nothing") -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if k not in ("ZKYNET_VENV", "VIRTUAL_ENV")}
        return bash(*args, env=env | {"CALLS": str(self.calls_file), "FAIL": fail}, cwd=self.root.parent)

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


@pytest.mark.parametrize("args", [("deploy",), ()])
def test_setup_refuses_an_unknown_command(environment: Environment, args: tuple[str, ...]):
    result = environment.run(environment.root / "setup.sh", *args)
    assert result.returncode == 2
    assert "bash setup.sh test" in result.stderr
    assert environment.calls() == []


def test_setup_run_reuses_the_environment_and_passes_arguments_on(environment: Environment):
    result = environment.run(environment.root / "setup.sh", "run", "--epochs", "two words")
    assert result.returncode == 0, result.stderr
    assert environment.calls() == ["examples/digits.py --epochs two words"]


def test_setup_installs_again_when_the_metadata_changed(environment: Environment):
    (environment.venv / "bin" / "activate").write_text(f"VIRTUAL_ENV='{environment.venv}'\n")
    os.utime(environment.root / "pyproject.toml")
    os.utime(environment.venv / ".zkynet-setup", (1, 1))
    result = environment.run(environment.root / "setup.sh", "run", fail="pip install")
    assert result.returncode != 0
    assert f"--editable {environment.root}[examples]" in environment.calls()[-1]
    assert not any("digits" in call for call in environment.calls())


@pytest.mark.parametrize("failing", ["nothing", "ruff", "pyright", "pytest"])
def test_setup_test_runs_every_check_and_pytest_last(environment: Environment, failing: str):
    result = environment.run(environment.root / "setup.sh", "test", "-k", "graph", fail=failing)
    ruff, pyright, tests = environment.calls()
    assert ruff.startswith("-m ruff check") and pyright == "-m pyright"
    assert tests.startswith("-m pytest -n ") and tests.endswith(" -k graph")
    assert (result.returncode == 0) == (failing == "nothing")
    assert ("failed: " + failing in result.stderr) == (failing != "nothing")


def test_sourcing_setup_activates_and_leaves_the_shell_as_it_was(environment: Environment):
    script = 'before=$-; . "$1"; echo "$? $ACTIVATED"; [ "$before" = "$-" ] && false; echo alive; declare -F'
    result = environment.run("-c", script, "bash", environment.root / "setup.sh")
    assert result.stdout.splitlines() == [f"0 {environment.venv}", "alive"]


def test_sourcing_setup_survives_a_failed_installation(environment: Environment):
    (environment.venv / "pyvenv.cfg").unlink()
    (environment.venv / ".zkynet-setup").unlink()
    script = '. "$1"; echo "$?"'
    result = environment.run("-c", script, "bash", environment.root / "setup.sh", fail="pip --version")
    assert result.stdout.splitlines() == ["1"]
    assert "is no virtual environment" in result.stderr
