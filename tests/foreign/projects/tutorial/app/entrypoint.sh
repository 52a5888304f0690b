#!/bin/sh

if [ "$DATABASE" = "postgres" ]
then
    echo "Waiting for PostgreSQL..."

    until nc -z "$SQL_HOST" "$SQL_PORT"; do
      sleep 0.2
    done

    echo "PostgreSQL is up"
fi

python manage.py flush --no-input
python manage.py migrate

exec "$@"
