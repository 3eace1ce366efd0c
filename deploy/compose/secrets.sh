#!/bin/sh
# 生成全部口令：./secrets.sh；添加设备：./secrets.sh device 名称
# Makes the secrets that are missing (./secrets.sh), or a device's password (./secrets.sh device NAME).
set -eu
cd "$(dirname "$0")"

# The folder is closed to others on this machine; the files are readable, since each service in a
# container reads them as a user of its own.
mkdir -p -m 0700 secrets
umask 022

random() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

# Written beside and moved, so that no half of a secret is ever taken for a whole one.
make() {
    [ -e "secrets/$1" ] && return 0
    printf '%s\n' "$2" >"secrets/.new"
    mv "secrets/.new" "secrets/$1"
    echo "secrets/$1" >&2
}

case "${1-}" in
'')
    make mqtt.password "$(random 24)"
    make mosquitto.passwd "tianlu:$(cat secrets/mqtt.password)"
    make influx.password "$(random 24)"
    make influx.token "$(random 32)"
    make grafana.password "$(random 16)"
    ;;
device)
    name=${2:?usage: ./secrets.sh device NAME}
    case "$name" in
    *[!A-Za-z0-9._-]*) echo "a device's name has letters, digits, '.', '_' and '-'" >&2; exit 2 ;;
    esac
    [ -e secrets/mosquitto.passwd ] || { echo "first: ./secrets.sh" >&2; exit 2; }
    if cut -d : -f 1 secrets/mosquitto.passwd | grep -Fxq -e "$name"; then
        echo "$name has a password already: secrets/mosquitto.passwd" >&2
        exit 1
    fi
    password=$(random 16)
    printf '%s:%s\n' "$name" "$password" >>secrets/mosquitto.passwd
    printf '%s\n' "$password"
    echo "then: docker compose restart mosquitto" >&2
    ;;
*)
    echo "usage: ./secrets.sh [device NAME]" >&2
    exit 2
    ;;
esac
