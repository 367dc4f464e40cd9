#!/bin/sh
# Starts nginx in a container in front of gates that come and go under one name: asks for their addresses every two seconds,
# and reloads where they differ. modelgate.conf stays as it is, a line for each gate is put in here.
#
# Not `resolve` of nginx: it gives up (502) what waits for a gate that has gone in the moment in which it learns of that. After
# a reload such a request goes on to the next gate.
set -eu
addresses() { getent ahostsv4 modelgate | sed -n 's/ .*STREAM.*//p' | sort -u; }

configure() {
  servers=
  for address in $1; do servers="$servers server $address:8080 max_fails=0;"; done
  for file in /etc/nginx/conf.d/*.conf; do
    # an address of which nothing answers is given up early: in here nothing is far away
    sed "s/server modelgate:8080 max_fails=0;/$servers/; s/proxy_connect_timeout 5s/proxy_connect_timeout 1s/" \
      "$file" > "/tmp/conf.d/${file##*/}" || return
  done
}

# a container that was restarted may have those of before
rm -rf /tmp/conf.d
mkdir /tmp/conf.d
sed 's#/etc/nginx/conf\.d/#/tmp/conf.d/#' /etc/nginx/nginx.conf > /tmp/nginx.conf
until known=$(addresses) && [ -n "$known" ]; do
  echo 'several-gates.sh: no gate is known by the name modelgate yet; nginx starts when one is.' >&2
  sleep 1
done
configure "$known"
while sleep 2; do
  # a name server may have no answer while names are being changed: the last ones stay
  now=$(addresses) && [ -n "$now" ] && [ "$now" != "$known" ] || continue
  # what could not be written is tried again
  configure "$now" || continue
  known=$now
  kill -HUP 1
done &
exec nginx -c /tmp/nginx.conf -g 'daemon off;'
