#!/bin/sh
# Starts PgBouncer in transaction mode for the two roles of roles.sh. Passwords stand in no file that outlives the container.
set -eu
case $OPENWEBUI_DATABASE_PASSWORD$GATE_DATABASE_PASSWORD in
  *[!A-Za-z0-9._~-]*)
    echo 'OPENWEBUI_DATABASE_PASSWORD or GATE_DATABASE_PASSWORD has a character that means something in a URL or a file of users.' \
      'Give .env another, of letters and digits, and PostgreSQL the same: docker compose exec postgres psql --username postgres,' \
      'and there \\password openwebui or \\password modelgate.' >&2
    exit 1
    ;;
esac
umask 077
cat > /tmp/users.txt <<END
"openwebui" "$OPENWEBUI_DATABASE_PASSWORD"
"modelgate" "$GATE_DATABASE_PASSWORD"
END
cat > /tmp/pgbouncer.ini <<'END'
[databases]
openwebui = host=postgres
[pgbouncer]
listen_addr = *
listen_port = 6432
unix_socket_dir =
auth_type = scram-sha-256
auth_file = /tmp/users.txt
pool_mode = transaction
# of the backend's driver; without it two of its processes meet each other's statements
max_prepared_statements = 200
ignore_startup_parameters = extra_float_digits
# for each of the two roles; PostgreSQL admits 100 in all
default_pool_size = 40
max_client_conn = 1000
END
exec pgbouncer --quiet /tmp/pgbouncer.ini
