#!/usr/bin/env bash
# Makes the virtual environment (once) and works in it:
#
#   source setup.sh           install zkynet and activate the environment in this shell (bash or zsh)
#   bash setup.sh run  [...]  install with the examples' packages, then run examples/digits.py [...]
#   bash setup.sh test [...]  install with the developers' packages, then lint, types and pytest [...]
#   bash setup.sh install     install zkynet only
#
# ZKYNET_VENV names another folder than .venv for the environment.

# Sourced: a child does the work, so nothing below can end or change the caller's shell.
if case ${ZSH_EVAL_CONTEXT:-} in *:file*) true ;; *) [ -n "${BASH_VERSION:-}" ] && (return 0 2>/dev/null) ;; esac; then
    if bash "${BASH_SOURCE[0]:-$0}" install; then
        # shellcheck source=/dev/null
        . "${ZKYNET_VENV:-$(dirname "${BASH_SOURCE[0]:-$0}")/.venv}/bin/activate"
        return 0
    fi
    return 1
fi

[ -n "${BASH_VERSION:-}" ] || {
    echo "setup.sh is run by bash: bash setup.sh ..." >&2
    exit 2
}
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" >/dev/null && pwd)
venv=${ZKYNET_VENV:-$root/.venv}
mkdir -p "$(dirname "$venv")"
venv=$(cd "$(dirname "$venv")" >/dev/null && pwd)/$(basename "$venv")
python=$venv/bin/python
stamp=$venv/.zkynet-setup # one line for each installed extra, with the checkout it was installed from

say() { printf 'setup.sh: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

apt_install() {
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 1
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=1 -o Acquire::http::Timeout=20)
    say "installing $* with apt-get"
    {
        "${apt[@]}" update
        DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@"
    } >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        # The base interpreter, should the caller be in a virtual environment.
        "$candidate" -c 'import sys
sys.version_info >= (3, 11) or sys.exit(1)
print(getattr(sys, "_base_executable", sys.executable))' 2>/dev/null && return
    done
    return 1
}

make_venv() {
    # Usable, and not moved since: its scripts hold their own path.
    if [[ -x $python ]] && grep -qsF "$venv" "$venv/bin/activate" && "$python" -m pip --version &>/dev/null; then
        return
    fi
    if [[ -e $venv && ! -e $venv/pyvenv.cfg && -n $(ls -A "$venv") ]]; then
        die "$venv exists and is no virtual environment; move it away, or name another folder in ZKYNET_VENV"
    fi
    local base package
    base=$(find_python) || die "Python 3.11 or newer is needed, and none was found on PATH"
    if ! "$base" -c 'from ensurepip import version' 2>/dev/null; then
        package=$("$base" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        apt_install "$package" || die "$base cannot make virtual environments; install the package $package first"
    fi
    say "making the virtual environment $venv with $base"
    "$base" -m venv --clear "$venv"
}

fresh() { [[ $stamp -nt pyproject.toml && $stamp -nt setup.py ]]; }

# prepare core | examples | dev: the environment with these packages; at once when it is there already.
prepare() {
    if ! { [[ -x $python ]] && fresh && grep -qxF "$1 $root" "$stamp"; }; then
        make_venv
        command -v dot >/dev/null || apt_install graphviz ||
            say "graphviz's dot is missing and could not be installed: graphs are drawn as html instead"
        local target=$root options=(--disable-pip-version-check)
        [[ $1 == core ]] || target="${root}[$1]"
        [[ -t 2 ]] || options+=(--quiet)
        say "installing zkynet ($1); the first time takes a few minutes"
        "$python" -m pip install "${options[@]}" --editable "$target"
        { fresh && grep -qxF "core $root" "$stamp"; } || : >"$stamp" # older, or another checkout's: no longer true
        printf '%s\n' "core $root" "$1 $root" >>"$stamp"
        [[ $1 != dev ]] || printf '%s\n' "examples $root" >>"$stamp" # dev includes them
    fi
    export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
}

run_tests() {
    local failed=() workers
    workers=$(nproc 2>/dev/null || echo 2)
    export PYRIGHT_PYTHON_IGNORE_WARNINGS=1 # no look-up of newer versions
    "$python" -m ruff check . || failed+=(ruff)
    "$python" -m pyright || failed+=(pyright)
    "$python" -m pytest -n "$((workers > 4 ? 4 : workers))" "$@" || failed+=(pytest)
    [[ ${#failed[@]} == 0 ]] || die "failed: ${failed[*]}"
}

command=${1:-}
[[ $# == 0 ]] || shift
case $command in
    install | run | test) cd "$root" ;;
    -h | --help | help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
esac
case $command in
    install)
        prepare core
        ;;
    run)
        prepare examples
        exec "$python" examples/digits.py "$@"
        ;;
    test)
        prepare dev
        run_tests "$@"
        ;;
esac
