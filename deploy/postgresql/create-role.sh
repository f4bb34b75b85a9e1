#!/bin/sh
# The role and the database of Widthwise, on a server whose superuser is another: the role owns that
# one database, is no superuser and makes neither roles nor databases, and nobody but these two may
# connect to it. Safe to run again; a new password in the file becomes the role's.
#
#   POSTGRES_PASSWORD_FILE             the superuser's password
#   WIDTHWISE_STORAGE_PASSWORD_FILE    the role's
#   PGHOST, PGPORT, PGUSER             the server and the superuser, as for every program of libpq
set -eu
umask 077

for file in "$POSTGRES_PASSWORD_FILE" "$WIDTHWISE_STORAGE_PASSWORD_FILE"; do
    [ -s "$file" ] || { echo "$file holds no password: write one into it" >&2; exit 2; }
done

# libpq and psql read the passwords from files: they are in no command line, variable or log.
PGPASSFILE=$(mktemp)
export PGPASSFILE
trap 'rm -f "$PGPASSFILE"' EXIT
printf '*:*:*:*:%s\n' "$(sed 's/[\\:]/\\&/g' "$POSTGRES_PASSWORD_FILE")" > "$PGPASSFILE"

psql --no-psqlrc --quiet --no-password --set=ON_ERROR_STOP=1 --dbname=postgres <<'SQL'
\set password `cat "$WIDTHWISE_STORAGE_PASSWORD_FILE"`
SET client_min_messages = warning;
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
SET password_encryption = 'scram-sha-256';
SELECT 'CREATE ROLE widthwise'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'widthwise') \gexec
ALTER ROLE widthwise LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    PASSWORD :'password';
SELECT 'CREATE DATABASE widthwise OWNER widthwise'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'widthwise') \gexec
REVOKE ALL ON DATABASE widthwise, postgres, template1 FROM PUBLIC;
SQL
