# shellcheck shell=bash disable=SC2034  # the lists are for those who source this
# What the scripts share: Debian packages and a Python environment, installed where they are missing.
#
# Rules:
# - Nothing is started or enabled that was not before.
# - "a|b" is the first of these packages that the distribution has; "a|" is a, or nothing where the distribution lacks it.
# - Ubuntu's docker-compose is version 1, which lacks a Python module there; docker-compose-v2 is the client of today.
# - luajit is asked for only where there is no luajit2: on Debian 12 it conflicts with that and removes nginx's Lua module.
#   Debian 13 has no luajit2, and its luajit is the same branch of LuaJIT.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV="$ROOT/.venv"
PACKAGES_RUN=(nginx-light libnginx-mod-http-lua lua-resty-core)
PACKAGES_CHECK=(lua-check shellcheck)
PACKAGES_TEST=(libnginx-mod-http-echo "luajit2|luajit" lua-messagepack luarocks pipx prometheus
    prometheus-nginx-exporter wrk buildah debootstrap debian-archive-keyring systemd-container
    "docker-compose-v2|docker-compose" openssl faketime iproute2 tmux "chromium|" "chromium-driver|" checkpolicy
    semodule-utils)
PACKAGES_BENCH=(wrk nghttp2-client prometheus)
UNITS=(nginx prometheus prometheus-nginx-exporter)

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "error: $*"
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root or sudo is needed to run: $*"
    fi
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null)" = "ii " ]
}

update_lists() {
    as_root apt-get -qq -o DPkg::Lock::Timeout=300 update </dev/null >&2
}

has_candidate() {
    compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || update_lists || die "apt-get update failed"
    [[ $(LC_ALL=C apt-cache policy "$1") = *"  Candidate: "[!\(]* ]]
}

# choose NAMES: the package that stands for these
choose() {
    local package packages
    if [[ $1 != *"|"* ]]; then
        echo "$1"
        return
    fi
    IFS='|' read -r -a packages <<<"$1"
    for package in "${packages[@]}"; do
        if installed "$package" || has_candidate "$package"; then
            echo "$package"
            return
        fi
    done
    [[ $1 = *"|" ]] || die "this distribution has none of the packages $1"
    say "this distribution has no package ${1%|}: the tests that need it are skipped"
}

has_unit() {
    [ -e "/lib/systemd/system/$1.service" ] || [ -e "/usr/lib/systemd/system/$1.service" ]
}

# Debian starts and enables what it installs. policy-rc.d (invoke-rc.d(8)) keeps it from starting now, disabling the
# units that came with it from starting at the next boot.
install_packages() {
    local missing=() foreign=() package unit policy=/usr/sbin/policy-rc.d made_policy=
    for package in "$@"; do
        package=$(choose "$package")
        [ -z "$package" ] || installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    for unit in "${UNITS[@]}"; do
        has_unit "$unit" || foreign+=("$unit")
    done
    if [ ! -e "$policy" ]; then
        made_policy=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    local status=0
    apt_install "${missing[@]}" || status=$?
    [ -z "$made_policy" ] || as_root rm -f "$policy"
    for unit in "${foreign[@]}"; do
        if has_unit "$unit" && command -v systemctl >/dev/null; then
            as_root systemctl disable --quiet "$unit" 2>/dev/null || true
        fi
    done
    [ "$status" -eq 0 ] || die "apt-get could not install ${missing[*]}; its own message is above"
}

apt_install() {
    local options=(-qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 --no-install-recommends)
    as_root env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install "$@" </dev/null >&2 && return
    update_lists && as_root env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install "$@" </dev/null >&2
}

find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# make_venv run|dev: the pinned packages and the project itself, anew only where the pins changed.
make_venv() {
    local wanted=$1 python stamp pins=("$ROOT/requirements/$1.txt")
    [ "$wanted" = dev ] || pins+=("$ROOT/requirements/build.txt")
    stamp=$(cat "${pins[@]}" "$ROOT/pyproject.toml" | sha256sum | cut -d ' ' -f 1)
    if [ -x "$VENV/bin/resty-metrics" ] && grep -qs "$stamp" "$VENV/.installed"; then
        return
    fi
    python=$(find_python) || {
        install_packages python3 python3-venv
        python=$(find_python) || die "Python 3.11 or later is needed, and this distribution's python3 is older"
    }
    say "installing Python packages into $VENV"
    [ -x "$VENV/bin/python" ] || "$python" -m venv "$VENV"
    local pip=("$VENV/bin/python" -m pip --quiet --no-input --disable-pip-version-check install)
    "${pip[@]}" --require-hashes "${pins[@]/#/--requirement=}"
    "${pip[@]}" --no-deps --no-build-isolation --editable "$ROOT"
    echo "$stamp" >>"$VENV/.installed"
}
