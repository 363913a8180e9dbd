set -eu
cache=$1/programs share=$2 folder=$cache/${3#*=}
shift 2
is() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -c 1-64)" = "$2" ]; }
mkdir -p "$folder"
exec 9>>"$folder/lock"
command -v flock >/dev/null && flock 9
while [ "$1" != -- ]; do
    name=${1%%=*} digest=${1#*=}
    shift
    if ! is "$folder/$name" "$digest"; then
        cp "$share/$digest" "$folder/.$name.$$"
        is "$folder/.$name.$$" "$digest" || {
            rm -f "$folder/.$name.$$"
            echo "$share/$digest is damaged: delete it and run the same command again" >&2
            exit 1
        }
        chmod 755 "$folder/.$name.$$"
        sync "$folder/.$name.$$"
        mv -f "$folder/.$name.$$" "$folder/$name"
    fi
    case $name in
    *onnxruntime_*) ;;
    *onnxruntime*) export ORT_DYLIB_PATH="${ORT_DYLIB_PATH:-$folder/$name}" ;;
    esac
done
shift
exec 9>&-
exec "$folder/laioncele" "$@"
