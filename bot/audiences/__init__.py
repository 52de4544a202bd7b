"""Audiences (受众): stored selections of followers, and the filters they are made of."""
