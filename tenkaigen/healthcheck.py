"""Is this container's process at work? For HEALTHCHECK: standard library only, a few milliseconds, no Django.

    python -I tenkaigen/healthcheck.py web                        the page answers
    python -I tenkaigen/healthcheck.py connected DATABASE_URL     somebody here talks to that server right now

Workers listen on nothing, so nobody can ask them. But a GPU worker looks into PostgreSQL every few seconds, and the
others hold their connection to Redis: one that has no connection does no work.
"""

import os
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

ANSWER_SECONDS = 4
ESTABLISHED = "01"
PORTS = {"postgres": 5432, "postgresql": 5432, "redis": 6379, "rediss": 6379}


def web_answers() -> bool:
    allowed = setting("ALLOWED_HOSTS").split(",")[0].strip().lstrip(".")
    request = urllib.request.Request(
        f"http://127.0.0.1:{os.environ.get('PORT') or 8000}/healthz",
        headers={"Host": allowed if allowed not in {"", "*"} else "localhost"},
    )
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
        return bool(answer.status == 200)


def is_connected(name: str, tables: tuple[str, ...] = ("/proc/net/tcp", "/proc/net/tcp6")) -> bool:
    """Whether this network namespace has an open connection to the port of the server that a variable names."""
    url = urlsplit(setting(name))
    port = url.port or PORTS[url.scheme]
    for table in tables:
        lines = Path(table).read_text().splitlines()[1:] if Path(table).exists() else []
        for line in lines:
            _, _, remote, state, *_ = line.split()
            if state == ESTABLISHED and int(remote.rsplit(":", 1)[1], 16) == port:
                return True
    return False


def setting(name: str) -> str:
    """A variable, or the contents of the file that NAME_FILE names, as the settings read it."""
    path = os.environ.get(f"{name}_FILE")
    return Path(path).read_text().strip() if path else os.environ.get(name, "")


def main(arguments: list[str]) -> int:
    try:
        is_well = web_answers() if arguments[0] == "web" else is_connected(arguments[1])
    except (OSError, LookupError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
