"""What looks like a secret: by itself, or by the name it has."""

import re

HIDDEN = "(not shown)"
VALUES = {
    "an AWS access key": re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a Google API key": re.compile(r"\bAIza[\w-]{35}"),
    "a GitHub token": re.compile(r"\b(gh[pousr]_|github_pat_)\w{20,}"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    "a password": re.compile(r"://[^/\s:@]+:[^/\s@]+@"),
}
_WORDS = r"(?:secret|secret_?key|password|passwd|token|credentials?|api_?key|access_?key(?:_?id)?|private_?key)"
_NAME = re.compile(rf"(?:^|[_.\-/]){_WORDS}$")
ASSIGNED = re.compile(r"\b([A-Z][A-Z0-9_]*)=([^\s;&|]+)")


def names_secret(name: str) -> bool:
    """Is ``name`` that of a secret, such as AWS_SECRET_ACCESS_KEY? ``secret`` alone is the name of one."""
    return bool(_NAME.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())) and name != "secret"


def is_elsewhere(content: str) -> bool:
    """Is it empty, a path, or a variable?"""
    return content == "" or content[0] in "~/.$" or content.startswith("projects/")


def has_secret(text: str) -> bool:
    """Would a message with ``text`` in it tell a secret?"""
    assigned = any(names_secret(name) and not is_elsewhere(content) for name, content in ASSIGNED.findall(text))
    return assigned or any(pattern.search(text) for pattern in VALUES.values())
