"""For any WSGI server: ``granian --interface wsgi wsgi:application``."""

import os

from bot.app import create_app, settled
from bot.config import load_config

application = settled(create_app(load_config(os.environ)))
