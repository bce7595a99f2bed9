"""GitHub's JSON shapes of users and repositories, as api.github.com of 2022-11-28 describes them."""

import base64
from typing import Any

from .clock import iso
from .config import Config
from .repositories import Repository

JSON = dict[str, Any]
_USER_LINKS = ("followers", "following", "gists", "starred", "subscriptions", "organizations", "repos", "events")
_TAILS = {
    "following": "/following{/other_user}",
    "gists": "/gists{/gist_id}",
    "starred": "/starred{/owner}{/repo}",
    "organizations": "/orgs",
    "events": "/events{/privacy}",
}
_REPOSITORY_LINKS = {
    "archive": "{archive_format}{/ref}",
    "assignees": "assignees{/user}",
    "blobs": "git/blobs{/sha}",
    "branches": "branches{/branch}",
    "collaborators": "collaborators{/collaborator}",
    "comments": "comments{/number}",
    "commits": "commits{/sha}",
    "compare": "compare/{base}...{head}",
    "contents": "contents/{+path}",
    "contributors": "contributors",
    "deployments": "deployments",
    "downloads": "downloads",
    "events": "events",
    "forks": "forks",
    "git_commits": "git/commits{/sha}",
    "git_refs": "git/refs{/sha}",
    "git_tags": "git/tags{/sha}",
    "hooks": "hooks",
    "issue_comment": "issues/comments{/number}",
    "issue_events": "issues/events{/number}",
    "issues": "issues{/number}",
    "keys": "keys{/key_id}",
    "labels": "labels{/name}",
    "languages": "languages",
    "merges": "merges",
    "milestones": "milestones{/number}",
    "notifications": "notifications{?since,all,participating}",
    "pulls": "pulls{/number}",
    "releases": "releases{/id}",
    "stargazers": "stargazers",
    "statuses": "statuses/{sha}",
    "subscribers": "subscribers",
    "subscription": "subscription",
    "tags": "tags",
    "teams": "teams",
    "trees": "git/trees{/sha}",
}


def node_id(kind: str, number: int) -> str:
    """Return an opaque global id, such as GitHub gives beside each number."""
    return f"{kind}_{base64.urlsafe_b64encode(number.to_bytes(8, 'big')).decode().rstrip('=')}"


def user_id(login: str) -> int:
    """Return the id of a user, a bot or an organization, derived from the login."""
    return 1000 + sum(login.encode())


class BaseRenderer:
    """Renders users and repositories, which nearly every answer contains."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def user(self, login: str, kind: str = "User") -> JSON:
        url = f"{self.config.base_url}/users/{login}"
        number = user_id(login)
        return {
            "login": login,
            "id": number,
            "node_id": node_id("U", number),
            "gravatar_id": "",
            "type": kind,
            "avatar_url": f"{self.config.base_url}/avatars/{number}",
            "url": url,
            "site_admin": False,
            "html_url": f"{self.config.base_url}/{login}",
            "user_view_type": "public",
            "received_events_url": f"{url}/received_events",
            **{f"{name}_url": url + _TAILS.get(name, f"/{name}") for name in _USER_LINKS},
        }

    def public_user(self, login: str) -> JSON:
        """Return a user with the profile that GET /user adds."""
        unknown = dict.fromkeys(("name", "company", "blog", "location", "email", "hireable", "bio"))
        counts = dict.fromkeys(("public_repos", "public_gists", "followers", "following"), 0)
        made = "2026-01-01T00:00:00Z"
        return self.user(login) | unknown | counts | {"created_at": made, "updated_at": made}

    def account(self, login: str) -> JSON:
        """Return the owner of repositories: an organization, unless it is the person at this machine."""
        return self.user(login, "User" if login.lower() == self.config.person.lower() else "Organization")

    def actor(self, login: str) -> JSON:
        return self.user(login, "Bot" if login.endswith("[bot]") else "User")

    def repository_url(self, repository: Repository) -> str:
        return f"{self.config.base_url}/repos/{repository.full_name}"

    def minimal_repository(self, repository: Repository) -> JSON:
        """Return a repository as it appears within runs."""
        url = self.repository_url(repository)
        links = {f"{name}_url": f"{url}/{tail}" for name, tail in _REPOSITORY_LINKS.items()}
        return {
            "id": repository.id,
            "node_id": node_id("R", repository.id),
            "name": repository.name,
            "full_name": repository.full_name,
            "private": True,
            "owner": self.account(repository.owner),
            "html_url": f"{self.config.base_url}/{repository.full_name}",
            "description": None,
            "fork": False,
            "url": url,
            **links,
        }

    def repository(self, repository: Repository, version: str = "2022-11-28") -> JSON:
        """Return a whole repository; API version 2026-03-10 has no `has_downloads`."""
        made = iso(repository.created_at)
        home = f"{self.config.base_url}/{repository.full_name}"
        body = self.minimal_repository(repository) | {
            "default_branch": repository.default_branch,
            "git_url": home + ".git",
            "ssh_url": home + ".git",
            "clone_url": home + ".git",
            "svn_url": home,
            "homepage": None,
            "language": None,
            "license": None,
            "mirror_url": None,
            "forks": 0,
            "forks_count": 0,
            "stargazers_count": 0,
            "watchers": 0,
            "watchers_count": 0,
            "size": 0,
            "open_issues": 0,
            "open_issues_count": 0,
            "is_template": False,
            "topics": [],
            "has_issues": True,
            "has_projects": False,
            "has_wiki": False,
            "has_pages": False,
            "has_downloads": True,
            "has_discussions": False,
            "archived": False,
            "disabled": False,
            "visibility": "private",
            "pushed_at": iso(repository.pushed_at),
            "created_at": made,
            "updated_at": made,
            "permissions": {"admin": False, "push": True, "pull": True},
            "allow_forking": True,
            "web_commit_signoff_required": False,
            "subscribers_count": 0,
            "network_count": 0,
            "custom_properties": {},
        }
        if version != "2022-11-28":
            del body["has_downloads"]
        return body
