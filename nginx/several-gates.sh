#!/bin/sh
# Starts nginx (1.27.3 or later) in a container in front of gates that come and go under one name: whoever answers to it is
# asked, and the name is asked for every five seconds. modelgate.conf stays as it is: what differs is put in here.
set -eu
mkdir /tmp/conf.d
servers=$(sed -n 's/^nameserver \(.*:.*\)/[\1]/p; s/^nameserver \([0-9.]*\)$/\1/p' /etc/resolv.conf | tr '\n' ' ')
echo "resolver ${servers}valid=5s;" > /tmp/conf.d/resolver.conf
for file in /etc/nginx/conf.d/*.conf; do
  sed 's/max_fails=0;/max_fails=0 resolve;/' "$file" > "/tmp/conf.d/${file##*/}"
done
sed 's#/etc/nginx/conf\.d/#/tmp/conf.d/#' /etc/nginx/nginx.conf > /tmp/nginx.conf
exec nginx -c /tmp/nginx.conf -g 'daemon off;'
