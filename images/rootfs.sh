#!/usr/bin/env bash
# Prepares the root folder of an image: the binary, the shared libraries that it names, a CA bundle, a user that is not root.
#   images/rootfs.sh BINARY DIR
set -euo pipefail
binary=${1:?usage: images/rootfs.sh BINARY DIR} root=${2:?usage: images/rootfs.sh BINARY DIR}
[ -x "$binary" ] || { echo "$binary is not there: run 'make build' first" >&2; exit 1; }

rm -rf "$root"
mkdir -p "$root"/{usr/local/bin,etc/ssl/certs,tmp,var/lib/dunlin}
install -m 755 "$binary" "$root/usr/local/bin/$(basename "$binary")"

# The loader and each library, at the path under which the binary looks for it.
ldd "$binary" | grep -o '/[^ )]*' | sort -u | while read -r library; do
	install -D -m 755 "$(readlink -f "$library")" "$root$library"
done
[ ! -r /etc/ssl/certs/ca-certificates.crt ] || install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'dunlin:x:10001:10001:dunlin:/var/lib/dunlin:/sbin/nologin' >"$root/etc/passwd"
echo 'dunlin:x:10001:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"
chown -R 10001:10001 "$root/var/lib/dunlin" 2>/dev/null || true
