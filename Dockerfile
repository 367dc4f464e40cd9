# modelgate as an image: Node, the libraries that it loads, and the gate. No shell, no package manager, no npm, no
# compiler. Docker:  docker build -t modelgate .
# Podman:            podman build --format docker -t modelgate .      (its own format has no place for HEALTHCHECK)

# The version is the one that package-lock.json tests with. Debian, and its glibc of 2.34 or later, because both Node
# and better-sqlite3's prebuilt file are made for it.
FROM node:26.10.0-bookworm-slim AS build
WORKDIR /app

# Nothing is compiled here, and no script of a package runs. What only a compiler or an editor would read is left out.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
 && machine=$(node -p 'process.platform + "-" + process.arch') \
 && cd node_modules \
 && rm -rf better-sqlite3/deps better-sqlite3/src .package-lock.json .bin \
 && find better-sqlite3/prebuilds -type f ! -name "$machine.node" -delete \
 && find . -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' -o -name '*.md' \) -delete

# Half of a start is reading TypeScript. The file system is read-only later on, so everything is read once now, as the
# user that will run it: Node keeps what it has read by user.
COPY LICENSE ./
COPY src src
ENV NODE_COMPILE_CACHE=/app/node_modules/.cache/modelgate
RUN install --directory --owner 10001 "$NODE_COMPILE_CACHE" \
 && setpriv --reuid=10001 node src/modelgate.js --version \
 && setpriv --reuid=10001 node --input-type=module --eval " \
      import { globSync } from 'node:fs'; \
      for (const command of globSync('/app/src/cli/**/*.ts')) await import(command);" \
 && chown --recursive 0:0 node_modules/.cache && chmod --recursive a=rX node_modules/.cache

# Everything that runs, with the libraries of Debian that it loads, and Debian's record of them for scanners of
# known holes. `env` is what the first line of the executable asks for.
RUN mkdir -p /image/etc /image/tmp /image/app/backend/data /image/var/lib/dpkg/status.d /image/usr/local/bin \
 && chmod 1777 /image/tmp \
 && for file in /usr/local/bin/node /usr/bin/env node_modules/better-sqlite3/prebuilds/*.node; do \
      ldd "$file" | grep -o '/[^ ]*' && echo "$file"; \
    done | sort -u | grep -v '^node_modules' | xargs cp --parents --dereference --target-directory /image \
 && for package in libc6 libgcc-s1 libstdc++6 libatomic1 coreutils; do \
      dpkg-query --status "$package" > "/image/var/lib/dpkg/status.d/$package" \
      && cp --parents "/usr/share/doc/$package/copyright" /image || exit 1; \
    done \
 && cp --parents /etc/os-release /image \
 && ln -s /app/src/modelgate.js /image/usr/local/bin/modelgate \
 && echo 'modelgate:x:10001:0:modelgate:/app:/nonexistent' > /image/etc/passwd \
 && echo 'root:x:0:' > /image/etc/group \
 && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
 && rm -rf package-lock.json .npmrc && mv package.json LICENSE src node_modules /image/app/ \
 && install --directory --mode 700 /state/modelgate

FROM scratch
COPY --from=build /image /
# MODELGATE_STATE_DIR in the Compose files: a new volume takes owner and mode from what lies at its place
COPY --from=build --chown=10001:0 /state /var/lib
WORKDIR /app
ENV PATH=/usr/local/bin:/usr/bin NODE_COMPILE_CACHE=/app/node_modules/.cache/modelgate

# A user of its own, and the group that the backend's image uses for its files (it runs as root:root). Where the
# backend runs as another user: --user 10001:GROUP with the group of its database.
USER 10001:0
EXPOSE 8080 9464
STOPSIGNAL SIGTERM

# A process that answers is alive. /readyz says whether the database and the backend can be reached.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["node", "--eval", "\
  require('node:http').get({ path: '/healthz', \
    host: process.env.MODELGATE_ADMIN_HOST || '127.0.0.1', port: process.env.MODELGATE_ADMIN_PORT || 9464 }, \
    ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]

LABEL org.opencontainers.image.title="modelgate" \
      org.opencontainers.image.description="Gives every organization its own models in front of an unmodified Open WebUI" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.base.name="docker.io/library/node:26.10.0-bookworm-slim"

ENTRYPOINT ["modelgate"]
CMD ["serve"]
