from .base import *  # noqa: F403
from .base import env

DEBUG = True
SECRET_KEY = env(
    'DJANGO_SECRET_KEY',
    default='jK4vXw9ZqLs2TnBd7RfGy1UaPc5HmEe8',
)
ALLOWED_HOSTS = ['localhost', '0.0.0.0', '127.0.0.1']
