#!/usr/bin/env bash
# Downloads the Kaggle data sets into datasets/, each into its own folder; a folder that holds something is
# left alone. Needs the kaggle client (pip install kaggle) and an account's credentials.
#
#   bash download_datasets.sh               all of them
#   bash download_datasets.sh mnist [...]   only the named folders
#
# A set is unpacked beside its folder and moved there when complete, so an interrupted download leaves nothing
# that the next run would take for the whole.

set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

# folder, kind, name on kaggle.com
sets='
bostonhousing        datasets      schirmerchad/bostonhoustingmlnd
mnist                competitions  digit-recognizer
emotionalspeech      datasets      uwrfkaggler/ravdess-emotional-speech-audio
feedbackprize        competitions  feedback-prize-2021
mnist_sign_language  datasets      datamunge/sign-language-mnist
'

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Everywhere that the client itself looks.
has_credentials() {
    local config file
    [[ -n ${KAGGLE_API_TOKEN:-} || (-n ${KAGGLE_USERNAME:-} && -n ${KAGGLE_KEY:-}) ]] && return
    config=${KAGGLE_CONFIG_DIR:-$HOME/.kaggle}
    for file in "$config"/kaggle.json "${XDG_CONFIG_HOME:-$HOME/.config}"/kaggle/kaggle.json \
        "$HOME"/.kaggle/{access_token,access_token.txt,credentials.json}; do
        [[ -s $file ]] && return
    done
    return 1
}

check_client() {
    command -v kaggle >/dev/null || die "The kaggle client is not installed (or not on PATH). Install it with:" \
        "    pip install kaggle"
    has_credentials || die "The kaggle client has no credentials. On https://www.kaggle.com/settings make an API token, then either" \
        "    save kaggle.json as ~/.kaggle/kaggle.json (chmod 600), or the token as ~/.kaggle/access_token, or" \
        "    export KAGGLE_API_TOKEN=..., or export KAGGLE_USERNAME=... KAGGLE_KEY=..., or" \
        "    run: kaggle auth login"
}

unpack() { # unpack FOLDER: every zip archive in it, in place
    python3 - "$1" <<'PYTHON'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
for path in folder.glob("*.zip"):
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    path.unlink()
sys.exit(None if any(folder.iterdir()) else "the client left no file")
PYTHON
}

fetch() ( # fetch FOLDER KIND NAME, in a subshell so that its trap is its own
    part=$(mktemp -d "datasets/.$1.XXXXXX") && log=$(mktemp) || exit 1
    trap 'rm -rf "$part" "$log"' EXIT
    trap 'exit 130' INT TERM
    if ! kaggle "$2" download "$3" -p "$part" 2>&1 | tee "$log"; then
        if [[ $2 == competitions ]] && grep -qiE '403.*forbidden|accept.*rules' "$log"; then
            echo "Kaggle refused: accept the rules of the competition first, on https://www.kaggle.com/competitions/$3/rules" >&2
        fi
        exit 1
    fi
    unpack "$part" && chmod 755 "$part" || exit 1
    [[ ! -d datasets/$1 ]] || rmdir "datasets/$1" || exit 1 # an empty one
    mv "$part" "datasets/$1"
)

for wanted in "$@"; do
    grep -q "^$wanted " <<<"$sets" || die "unknown data set: $wanted; there are:" "$sets"
done

failed=()
checked=
while read -r folder kind name <&3; do
    [[ -n $folder && ($# == 0 || " $* " == *" $folder "*) ]] || continue
    if [[ -n $(ls -A "datasets/$folder" 2>/dev/null) ]]; then
        echo "datasets/$folder: present, skipped"
        continue
    fi
    [[ -n $checked ]] || check_client
    checked=yes
    mkdir -p datasets || exit 1
    echo "datasets/$folder: downloading $name"
    fetch "$folder" "$kind" "$name"
    case $? in
        0) echo "datasets/$folder: done" ;;
        130) exit 130 ;;
        *) failed+=("$folder") ;;
    esac
done 3<<<"$sets"

[[ ${#failed[@]} == 0 ]] || die "" "Not downloaded: ${failed[*]}. Run this again after mending what is reported above."
