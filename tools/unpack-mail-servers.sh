#!/bin/sh
# Unpack Debian's Exim and Sendmail below a directory, beside the mail server that is installed: their packages
# remove each other, so nothing of them is installed. Usage: tools/unpack-mail-servers.sh DIRECTORY
set -eu
target=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -q download exim4-daemon-light exim4-base sendmail-bin sendmail-base sendmail-cf
mkdir -p "$target"
for package in ./*.deb; do
    dpkg -x "$package" "$target"
done
