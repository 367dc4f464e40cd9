#!/usr/bin/env bash
# Makes an image that stands in for one that no registry gives here: from Debian's packages, the npm packages `node`
# and `npm`, and an installed Open WebUI. Needs podman, debootstrap, npm and root, on Debian.
#
#   stand-in.sh NAME node            version taken from NAME's tag
#   stand-in.sh NAME prometheus      Debian's version, whatever the tag says
#   stand-in.sh NAME nginx           likewise, and so the next three: of Debian's next release, which is as new as the real ones
#   stand-in.sh NAME postgres        with pgvector
#   stand-in.sh NAME pgbouncer
#   stand-in.sh NAME valkey
#   stand-in.sh NAME open-webui DIR  DIR holds the installed packages, as Debian's Python 3.11 can load them
set -euo pipefail

NAME=$1 KIND=$2
DEBIAN=localhost/debian-of-the-tests:bookworm
NEXT=localhost/debian-of-the-tests:forky
SERVERS=localhost/servers-of-the-tests:forky
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
authorities=/etc/ssl/certs/ca-certificates.crt

say() { echo "stand-in.sh: $*" >&2; }

# debian IMAGE PACKAGES: the smallest Debian, with what every stand-in needs. The authorities are this machine's own: behind a
# proxy that opens TLS the registries of npm and PyPI are believed by them alone.
debian() {
  podman image exists "$1" && return
  local mirror
  mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources 2>/dev/null | grep '/debian/*$' | head -1 || true)
  [ -n "$mirror" ] || mirror=$(awk '$1 == "deb" && $2 ~ /debian\/*$/ { print $2; exit }' /etc/apt/sources.list 2>/dev/null || true)
  [ -n "$mirror" ] || { say 'the apt sources of this machine name no Debian mirror'; return 1; }
  say "making $1"
  # an older debootstrap does not know the name of a newer release, which is made as all are
  debootstrap --variant=minbase --no-check-gpg --include="$2" "${1##*:}" "$work/debian" "$mirror" \
    /usr/share/debootstrap/scripts/sid >"$work/debootstrap.log" 2>&1 || { tail -5 "$work/debootstrap.log" >&2; return 1; }
  [ ! -e "$authorities" ] || cp "$authorities" "$work/debian$authorities"
  # a mirror may be a copy of some weeks ago
  echo 'Acquire::Check-Valid-Until "false";' >"$work/debian/etc/apt/apt.conf.d/of-the-tests"
  rm -rf "$work/debian/var/cache/apt/archives/"*.deb
  tar -C "$work/debian" -c . | podman import --change "ENV NODE_EXTRA_CA_CERTS=$authorities" \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$1" >/dev/null
  rm -rf "$work/debian"
}

build() { podman build --quiet --network host --format docker --tag "$NAME" --file - "$@" >/dev/null; }

node() {
  local version=${NAME##*:}
  version=${version%%-*}
  (
    cd "$work"
    echo '{ "allowScripts": { "node": true } }' >package.json
    npm install --loglevel error --no-audit --no-fund "node@$version" npm@11 >&2
    cp --dereference node_modules/node/bin/node node
  )
  build "$work" <<FILE
FROM $DEBIAN
COPY node /usr/local/bin/node
COPY node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
CMD ["node"]
FILE
}

# One image with all servers, of which each stand-in is a part: they are fetched once.
servers() {
  podman image exists "$SERVERS" && return
  debian "$NEXT" ca-certificates,curl
  NAME=$SERVERS build "$work" <<FILE
FROM $NEXT
RUN mkdir /etc/postgresql-common && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \\
 && apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light postgresql pgbouncer valkey-server \\
    '?name(^postgresql-[0-9]+-pgvector\$)' >/dev/null && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
FILE
}

# The places that the image of the nginx project has: user, logs on the standard streams, sites in conf.d.
nginx() {
  servers
  build "$work" <<FILE
FROM $SERVERS
RUN useradd --system --no-create-home --user-group --shell /bin/false nginx \\
 && sed -i 's/^user .*/user nginx;/; /sites-enabled/d' /etc/nginx/nginx.conf && touch /etc/nginx/conf.d/default.conf \\
 && ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
FILE
}

# As the image of PostgreSQL: an empty volume becomes a database, and gets what lies in docker-entrypoint-initdb.d.
postgres() {
  servers
  cat >"$work/entrypoint.sh" <<'SH'
#!/bin/sh
set -eu
export PGDATA=/var/lib/postgresql/data
if [ "$(id -u)" = 0 ]; then
  chown -R postgres "$PGDATA" /run/postgresql
  exec setpriv --reuid postgres --regid postgres --init-groups "$0"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  cat "$POSTGRES_PASSWORD_FILE" >/tmp/password
  initdb --username postgres --pwfile /tmp/password --encoding UTF8 --locale C.UTF-8 --auth-local trust --auth-host trust >/dev/null
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl --wait --silent --options='-c listen_addresses=' start
  for file in /docker-entrypoint-initdb.d/*; do sh "$file"; done
  pg_ctl --wait --silent stop
fi
exec postgres -c listen_addresses='*'
SH
  chmod +x "$work/entrypoint.sh"
  build "$work" <<FILE
FROM $SERVERS
COPY entrypoint.sh /usr/local/bin/entrypoint.sh
RUN install --directory --owner postgres --mode 700 /var/lib/postgresql/data && install --directory --owner postgres /run/postgresql
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
FILE
}

pgbouncer() {
  servers
  podman tag "$SERVERS" "$NAME"
}

valkey() {
  servers
  build "$work" <<FILE
FROM $SERVERS
RUN install --directory --owner valkey --group valkey /data
USER valkey
WORKDIR /data
VOLUME /data
FILE
}

# As the image of the Prometheus project: its user, and the folder which that owns.
prometheus() {
  build "$work" <<FILE
FROM $DEBIAN
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus >/dev/null \\
 && install --directory --owner nobody --group nogroup /prometheus
USER nobody
WORKDIR /prometheus
VOLUME /prometheus
ENTRYPOINT ["/bin/prometheus"]
FILE
}

# As the image of Open WebUI: root, /app/backend, start.sh, port 8080. Its models and engines are switched off, because
# the installation leaves them out. async-timeout is needed below Python 3.11.3, which Debian 12 is.
open_webui() {
  build "$1" <<FILE
FROM $DEBIAN
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-async-timeout >/dev/null
COPY . /opt/open-webui
WORKDIR /app/backend
ENV ENV=prod PORT=8080 FROM_INIT_PY=true DATA_DIR=/app/backend/data STATIC_DIR=/app/backend/static HOME=/root LANG=C.UTF-8 \\
    PYTHONPATH=/opt/open-webui PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OPENAI_API_BASE_URL= OPENAI_API_KEY= WEBUI_SECRET_KEY= \\
    SCARF_NO_ANALYTICS=true DO_NOT_TRACK=true ANONYMIZED_TELEMETRY=false OFFLINE_MODE=true HF_HUB_OFFLINE=1 \\
    RAG_EMBEDDING_ENGINE=openai ENABLE_OLLAMA_API=false ENABLE_VERSION_UPDATE_CHECK=false
RUN mkdir data && printf '%s\n' '#!/usr/bin/env bash' \\
    'exec python3 -m uvicorn open_webui.main:app --host 0.0.0.0 --port "\$PORT" --forwarded-allow-ips "*" --workers 1' > start.sh
EXPOSE 8080
CMD ["bash", "start.sh"]
FILE
}

debian "$DEBIAN" ca-certificates,curl,libatomic1,libstdc++6
say "making $NAME, which no registry gives here"
case $KIND in
  node | prometheus | nginx | postgres | pgbouncer | valkey) "$KIND" ;;
  open-webui) open_webui "$3" ;;
  *) say "there is no stand-in of the kind $KIND"; exit 2 ;;
esac
