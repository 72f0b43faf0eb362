"""How the API server is reached: from inside a pod, or by a kubeconfig.

Tokens that stand in a file are read again and again: the kubelet replaces them long before they end.
Source: «Accessing the API from a Pod»; kubeconfig (v1).
"""

from __future__ import annotations

import os
import ssl
import tempfile
import time
from base64 import b64decode, b64encode
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# The kubelet renews a projected token when a fifth of its life is left, which is minutes at least.
_TOKEN_AGE_SECONDS: Final = 30.0


class ConfigError(Exception):
    """There is no usable way to an API server; the message says what to do."""


@dataclass(slots=True)
class Token:
    """A bearer token, from a file where it has one; hidden in every printed form."""

    file: Path | None = None
    _value: str = field(default="", repr=False)
    _read_at: float = field(default=float("-inf"), repr=False)

    @classmethod
    def fixed(cls, value: str) -> Token:
        """Return a token that never changes; the empty one is none."""
        return cls(_value=value)

    def value(self) -> str:
        """Return the token as it is now, empty where there is none."""
        now = time.monotonic()
        if self.file is not None and now - self._read_at > _TOKEN_AGE_SECONDS:
            self._value, self._read_at = self.file.read_text(encoding="ascii").strip(), now
        return self._value


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A way to an API server. ``authorization`` is the whole header where it is not a bearer token's."""

    server: str
    tls: ssl.SSLContext | None
    token: Token = field(default_factory=Token)
    authorization: str = field(default="", repr=False)
    namespace: str = "default"

    def header(self) -> str:
        """Return what the ``Authorization`` header is to be now, empty where there is none."""
        token = self.token.value()
        return f"Bearer {token}" if token else self.authorization


def auto(kubeconfig: Path | None = None) -> Connection:
    """Return the way that is asked for, or that of the pod, or that of the user's kubeconfig.

    Raises :class:`ConfigError`.
    """
    if kubeconfig is not None:
        return from_kubeconfig(kubeconfig)
    if "KUBERNETES_SERVICE_HOST" in os.environ and not os.environ.get("KUBECONFIG"):
        return in_cluster()
    # Several files may be named; the first that is there counts.
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)
    files = [Path(name) for name in named if name] or [Path.home() / ".kube" / "config"]
    return from_kubeconfig(next((file for file in files if file.exists()), files[0]))


def in_cluster() -> Connection:
    """Return the way from inside a pod, by its service account; :class:`ConfigError` outside of one."""
    host, port = (
        os.environ.get("KUBERNETES_SERVICE_HOST"),
        os.environ.get("KUBERNETES_SERVICE_PORT", "443"),
    )
    if not host or not (_ACCOUNT / "token").exists():
        raise ConfigError("this is no pod with a service account: use --kubeconfig")
    return Connection(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        tls=ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt")),
        token=Token(_ACCOUNT / "token"),
        namespace=(_ACCOUNT / "namespace").read_text(encoding="ascii").strip(),
    )


def from_kubeconfig(file: Path) -> Connection:
    """Return the way of a kubeconfig's current context; :class:`ConfigError` where it is none."""
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        context = _named(config, "contexts", "context", config["current-context"])
        cluster = _named(config, "clusters", "cluster", context["cluster"])
        user = _named(config, "users", "user", context["user"]) if context.get("user") else {}
        return Connection(
            server=cluster["server"].rstrip("/"),
            tls=_tls(cluster, user, file.parent),
            token=_token(user, file.parent),
            authorization=_basic(user),
            namespace=context.get("namespace") or "default",
        )
    except OSError as error:
        why = f"cannot read {error.filename or file}: {error.strerror}"
        raise ConfigError(f"{why}; say which cluster: --kubeconfig FILE, or KUBECONFIG") from error
    except (KeyError, TypeError, ValueError, StopIteration, yaml.YAMLError) as error:
        raise ConfigError(f"{file} is not a usable kubeconfig: {error!r}") from error


def _named(config: Mapping[str, Any], plural: str, kind: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one[kind] for one in config[plural] if one["name"] == name)
    return found


def _token(user: Mapping[str, Any], folder: Path) -> Token:
    if user.get("exec") or user.get("auth-provider"):
        raise ValueError("credentials by plugins are not handled; use a token or a certificate")
    if user.get("tokenFile"):
        return Token(folder / user["tokenFile"])
    return Token.fixed(user.get("token") or "")


def _basic(user: Mapping[str, Any]) -> str:
    if not user.get("username"):
        return ""
    pair = f"{user['username']}:{user.get('password', '')}"
    return f"Basic {b64encode(pair.encode()).decode('ascii')}"


def _tls(
    cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path
) -> ssl.SSLContext | None:
    if not cluster["server"].startswith("https:"):
        return None
    with ExitStack() as stack:
        roots = _file(cluster, "certificate-authority", folder, stack)
        context = ssl.create_default_context(cafile=roots)
        certificate = _file(user, "client-certificate", folder, stack)
        if certificate:
            context.load_cert_chain(certificate, _file(user, "client-key", folder, stack))
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _file(config: Mapping[str, Any], name: str, folder: Path, stack: ExitStack) -> str | None:
    """Return the path of what is given as a file or as data; OpenSSL reads keys from files only."""
    data = config.get(f"{name}-data")
    if data:
        file = stack.enter_context(tempfile.NamedTemporaryFile())  # noqa: SIM115  the stack closes it
        file.write(b64decode(data))
        file.flush()
        return file.name
    return str(folder / config[name]) if config.get(name) else None
