#!/usr/bin/env bash
# Fetches a program for tests from the newest package of Debian that runs here, and prints its path in the cache of this project.
#
#     tools/debian-program.sh PACKAGE PROGRAM VERSION
#
# VERSION is a pattern that the output of `PROGRAM --version` must match. The program must need nothing but libc. apt-get downloads the
# package of Debian's unstable release, or else of its stable one, from the mirror that this machine uses already, and checks its signature and
# digest. It has lists and settings of its own in a temporary folder: nothing else of the system changes, and it does not need root.
set -euo pipefail

package=$1 name=$2 version=$3
cache=${UNDRIFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/undrift}/$name
program=$cache/$name
fail() {
  printf '%s: %s\n' "$name" "$*" >&2
  exit 1
}
accepted() { "$1" --version 2>/dev/null | grep -qE "$version"; }

if [ -x "$program" ] && accepted "$program"; then
  echo "$program"
  exit
fi
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
  fail 'this system has no apt-get'

targets() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "$@"; }
mirror=$(targets 'Origin: Debian' 'Label: Debian' | head -n 1)
[ -n "$mirror" ] || mirror=$(targets | grep -E '/debian/?$' | head -n 1) || true
[ -n "$mirror" ] || fail 'apt has no mirror of Debian'
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
    apt-get -c apt.conf update -qq --error-on=any && apt-get -c apt.conf download -qq "$package" && dpkg-deb -x ./*.deb package
  ) >&2 || continue
  unpacked=$(find "$scratch/package/usr" -name "$name" -type f -perm -u+x | head -n 1)
  if [ -n "$unpacked" ] && accepted "$unpacked"; then
    mkdir -p "$cache"
    cp "$unpacked" "$program.$$"
    mv "$program.$$" "$program"
    "$program" --version >&2
    echo "$program"
    exit
  fi
done
fail "no package $package of $mirror runs here"
