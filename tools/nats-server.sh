#!/usr/bin/env bash
# Fetches a server of NATS for tests, and prints its path. Servers below 2.10 are refused by clusters, and Debian 12 has 2.9.
set -euo pipefail
"$(dirname "$0")/debian-program.sh" nats-server nats-server 'v(2\.[1-9][0-9]|[3-9])' || {
  echo 'Install nats-server 2.11 or newer, and let UNDRIFT_NATS_SERVER name the program.' >&2
  exit 1
}
