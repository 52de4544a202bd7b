"""For any WSGI server: ``granian --interface wsgi wsgi:application``."""

import os

from bot.app import create_app
from bot.config import load_config

application = create_app(load_config(os.environ))
