#!/usr/bin/env bash
# Restarts the replicas of docker-compose.yml's profile "scale" one after another, each once the one before is ready.
#   docker/rolling_restart.sh
set -euo pipefail
cd "$(dirname "$0")/.."
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
for replica in $("${compose[@]}" --profile scale ps --quiet replica); do
  docker restart "$replica"
  until [ "$(docker inspect --format '{{.State.Health.Status}}' "$replica")" = healthy ]; do sleep 1; done
done
