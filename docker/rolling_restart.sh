#!/usr/bin/env bash
# Restarts the replicas of docker-compose.yml's profile "scale" one after another, each once the one before is ready.
#   docker/rolling_restart.sh
set -euo pipefail
cd "$(dirname "$0")/.."
for replica in $(docker ps --quiet --filter label=com.docker.compose.service=replica \
    --filter "label=com.docker.compose.project=${COMPOSE_PROJECT_NAME:-$(basename "$PWD")}"); do
  docker restart "$replica"
  until [ "$(docker inspect --format '{{.State.Health.Status}}' "$replica")" = healthy ]; do sleep 1; done
done
