"""Making the GitHub App from a manifest, keeping its credentials, and going on to its installation.

The way, whether from `manage.py connectgithub` or from the operators' page: a form sends the manifest to GitHub
(`manifest`), GitHub sends the browser back with a code, the code is exchanged for credentials once (`exchange`), which
are written where the settings are read (`places`); a journal beside them says how far it came.
Source: https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""
