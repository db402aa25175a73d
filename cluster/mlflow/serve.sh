#!/bin/sh
# A tracking server with users, PostgreSQL and a bucket behind it: what `compose.yaml` runs, and what to run without it.
#
# It reads its environment, because a command line is seen by everybody on the machine:
#   MLFLOW_BACKEND_STORE_URI        postgresql+psycopg2://USER:PASSWORD@HOST/DATABASE
#   MLFLOW_ARTIFACTS_DESTINATION    s3://BUCKET/mlflow; keys from the usual AWS variables or the machine's role. Clients
#                                   need none: the server passes artifacts on
#   MLFLOW_AUTH_ADMIN_PASSWORD      of the user `admin`, for the first start; twelve letters at least
#   MLFLOW_FLASK_SERVER_SECRET_KEY  any long random text, the same at every start
#   MLFLOW_SERVER_ALLOWED_HOSTS     names under which browsers and clients reach it, such as
#                                   mlflow.example.org,mlflow.example.org:*,127.0.0.1:*,localhost:*
#   HOST, PORT, STATE               127.0.0.1, 5000, and a folder for the list of users (.)
# For an S3 server that is not Amazon's set MLFLOW_S3_ENDPOINT_URL besides AWS_ENDPOINT_URL.
set -eu
for name in MLFLOW_BACKEND_STORE_URI MLFLOW_ARTIFACTS_DESTINATION MLFLOW_AUTH_ADMIN_PASSWORD \
            MLFLOW_FLASK_SERVER_SECRET_KEY; do
  eval "value=\${$name:-}"
  [ -n "$value" ] || { echo "$name: unset: the server needs it: see the head of serve.sh" >&2; exit 2; }
done
umask 077
state=${STATE:-.}
mkdir -p "$state"
# Everybody who is known may read; who makes an experiment may change it. Each check of a password takes 0.3 s, so one
# that was right is believed for a minute.
cat > "$state/auth.ini" <<INI
[mlflow]
default_permission = READ
database_uri = sqlite:///$state/users.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
INI
export MLFLOW_AUTH_CONFIG_PATH="$state/auth.ini"
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
export MLFLOW_S3_ENDPOINT_URL="${MLFLOW_S3_ENDPOINT_URL:-${AWS_ENDPOINT_URL:-}}"
[ -n "$MLFLOW_S3_ENDPOINT_URL" ] || unset MLFLOW_S3_ENDPOINT_URL
exec mlflow server --app-name basic-auth --host "${HOST:-127.0.0.1}" --port "${PORT:-5000}" --workers "${WORKERS:-2}"
