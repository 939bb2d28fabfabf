# The base image of an agent's pod: git and the real Codex CLI. ko adds
# agent-runner on top of it (baseImageOverrides in ko.yaml).
FROM node:22-bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git \
 && rm -rf /var/lib/apt/lists/* \
 && npm install --global @openai/codex@0.169.0 \
 && npm cache clean --force
# The Job runs as an ordinary user with a read-only root; it writes to HOME and
# WORK_DIR, which are mounted.
USER 65532:65532
