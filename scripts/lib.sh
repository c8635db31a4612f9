# What the scripts share: how they speak, and how they install Debian's packages.

say() { echo "temporal-runs: $*" >&2; }

stop() {
    say "$*"
    exit 2
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Installs Debian's packages; where that is not possible, says exactly what to type.
install_packages() {
    local advice="type: sudo apt-get update && sudo apt-get install -y $*"
    command -v apt-get >/dev/null || stop "$* is needed, and this is no Debian or Ubuntu: install it, then try again"
    as_root true 2>/dev/null || stop "$* is needed, and installing it takes root: $advice"
    say "installing $* with apt-get"
    {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
    } >/tmp/temporal-runs-apt.log 2>&1 || stop "apt-get failed, see /tmp/temporal-runs-apt.log; then $advice"
}

# Downloads a Debian package into the current folder; nothing is installed.
download_package() {
    local log=/tmp/temporal-runs-apt.log
    apt-get download -q "$1" >"$log" 2>&1 ||
        { as_root apt-get update -q >>"$log" 2>&1 && apt-get download -q "$1" >>"$log" 2>&1; } ||
        stop "Debian's $1 cannot be had, see $log: is the package archive reachable?"
}
