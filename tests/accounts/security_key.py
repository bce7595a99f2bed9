"""A security key in software: what a browser would send of it (WebAuthn), as allauth's pages take it."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import AttestedCredentialData, AuthenticatorData

HOST = "localhost"
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


class SecurityKey:
    """One key pair. `verified`: whether it says that it has checked its owner, by PIN or finger."""

    def __init__(self, *, verified: bool = True, origin: str = f"http://{HOST}") -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.id = os.urandom(16)
        self.verified, self.origin = verified, origin
        self.user: str | None = None

    def made(self, options: dict[str, Any]) -> str:
        """Answer what a page offered for making a passkey."""
        self.user = options["publicKey"]["user"]["id"]
        public = ES256.from_cryptography_key(self.private.public_key())
        attested = AttestedCredentialData.create(b"\0" * 16, self.id, public)
        data = self._data(ATTESTED, attested)
        statement = cbor.encode({"fmt": "none", "attStmt": {}, "authData": bytes(data)})
        return self._sent("webauthn.create", options, attestationObject=websafe_encode(statement))

    def used(self, options: dict[str, Any]) -> str:
        """Answer what a page asked a passkey for."""
        data = bytes(self._data(0))
        client = self._client("webauthn.get", options)
        signature = self.private.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        signed = {"authenticatorData": websafe_encode(data), "signature": websafe_encode(signature)}
        return self._sent("webauthn.get", options, userHandle=self.user, **signed)

    def _data(self, flags: int, attested: AttestedCredentialData | None = None) -> AuthenticatorData:
        flags |= PRESENT | (VERIFIED if self.verified else 0)
        host = hashlib.sha256(HOST.encode()).digest()
        return AuthenticatorData.create(host, AuthenticatorData.FLAG(flags), 1, attested or b"")

    def _client(self, kind: str, options: dict[str, Any]) -> bytes:
        challenge = options["publicKey"]["challenge"]
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _sent(self, kind: str, options: dict[str, Any], **response: Any) -> str:
        name = websafe_encode(self.id)
        client = websafe_encode(self._client(kind, options))
        sent = {"id": name, "rawId": name, "type": "public-key", "clientExtensionResults": {}}
        return json.dumps(sent | {"response": {"clientDataJSON": client, **response}})
