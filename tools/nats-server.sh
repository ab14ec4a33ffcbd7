#!/usr/bin/env bash
# Fetches Debian's package nats-server, for tests, into the cache of this project, and prints the path of the program.
#
#     tools/nats-server.sh
#
# Servers below 2.10 are refused by the cluster, and Debian 12 has 2.9. The package of Debian's unstable release, or else of its stable one,
# needs only libc: apt-get downloads it from the mirror that this machine uses already, and checks its signature and digest. It has lists and
# settings of its own in a temporary folder, so that nothing else of the system changes, and it does not need root.
set -euo pipefail

cache=${UNDRIFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/undrift}/nats-server
program=$cache/nats-server
fail() {
  printf 'nats-server: %s\n' "$*" >&2
  exit 1
}
# Tells whether a program is a server that the cluster accepts.
accepted() { "$1" --version 2>/dev/null | grep -qE 'v(2\.[1-9][0-9]|[3-9])'; }

if [ -x "$program" ] && accepted "$program"; then
  echo "$program"
  exit
fi
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
  fail 'this system has no apt-get. Install nats-server 2.11 or newer, and let UNDRIFT_NATS_SERVER name the program'

targets() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "$@"; }
mirror=$(targets 'Origin: Debian' 'Label: Debian' | head -n 1)
[ -n "$mirror" ] || mirror=$(targets | grep -E '/debian/?$' | head -n 1) || true
[ -n "$mirror" ] || fail 'apt has no mirror of Debian. Install nats-server 2.11 or newer, and let UNDRIFT_NATS_SERVER name the program'
keys=
for file in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
  [ ! -r "$file" ] || keys="[signed-by=$file]"
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# The settings are read after those of the system: they take the place of its sources and lists, and run none of its hooks.
cat >"$scratch/apt.conf" <<SETTINGS
Dir::Etc::sourcelist "$scratch/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$scratch/lists";
Dir::Cache "$scratch/cache";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "root";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
SETTINGS
for suite in unstable stable; do
  rm -rf "$scratch"/{lists,cache,package} "$scratch"/*.deb
  mkdir -p "$scratch"/{lists,cache/archives}/partial
  echo "deb $keys $mirror $suite main" >"$scratch/sources.list"
  (
    cd "$scratch"
    apt-get -c apt.conf update -qq --error-on=any && apt-get -c apt.conf download -qq nats-server && dpkg-deb -x ./*.deb package
  ) >&2 || continue
  unpacked=$(find "$scratch/package/usr" -name nats-server -type f -perm -u+x | head -n 1)
  if [ -n "$unpacked" ] && accepted "$unpacked"; then
    mkdir -p "$cache"
    cp "$unpacked" "$program.$$"
    mv "$program.$$" "$program"
    "$program" --version >&2
    echo "$program"
    exit
  fi
done
fail "no package of $mirror runs here. Install nats-server 2.11 or newer, and let UNDRIFT_NATS_SERVER name the program"
