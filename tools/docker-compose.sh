#!/usr/bin/env bash
# Fetches Docker Compose, by which a test checks deploy/compose.yaml, and prints its path. It needs no Docker for that.
set -euo pipefail
"$(dirname "$0")/debian-program.sh" docker-compose docker-compose 'v?(2|[3-9])\.[0-9]'
