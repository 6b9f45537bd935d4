"""TLS of a listener, by the files of a certificate and its key."""

from __future__ import annotations

import ssl

from cutover.errors import ConfigurationError


class Certificate:
    """One door's certificate. New connections get what was read last."""

    def __init__(self, section: str, cert_file: str, key_file: str) -> None:
        """`section`: of the settings, for messages. Raises `ConfigurationError` for files that cannot be used."""
        self._section = section
        self._files = (cert_file, key_file)
        self.context = self._read()

    def reload(self) -> None:
        """Read the files again. Raises `ConfigurationError`; what was read before stays in use then."""
        self._read()
        self._load(self.context)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        cert_file, key_file = self._files
        for name, file in (("tls_cert_file", cert_file), ("tls_key_file", key_file)):
            try:
                with open(file, "rb"):
                    pass
            except OSError as error:
                raise self._wrong(f"{name} {file!r} cannot be read: {error.strerror}.") from None
        try:
            context.load_cert_chain(cert_file, key_file, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "it is no PEM"
            raise self._wrong(
                f"tls_cert_file {cert_file!r} and tls_key_file {key_file!r} are no certificate and its key: {reason}.",
                "Both are PEM; the certificate comes first in its file, then its chain; the key has no password.",
            ) from None

    def _wrong(self, text: str, hint: str = "") -> ConfigurationError:
        return ConfigurationError(f"{self._section}.{text}", hint=hint)


def certificate(section: str, cert_file: str, key_file: str) -> Certificate | None:
    """The certificate of a door; None if it has none. Raises `ConfigurationError`, also for one file of the two."""
    if not cert_file and not key_file:
        return None
    if not (cert_file and key_file):
        given, missing = ("cert", "key") if cert_file else ("key", "cert")
        raise ConfigurationError(
            f"{section}.tls_{given}_file is set, but {section}.tls_{missing}_file is not.", hint="Set both, or neither."
        )
    return Certificate(section, cert_file, key_file)


def _no_password() -> str:
    """OpenSSL would ask for it at the terminal."""
    return ""
