"""Tokens as PyJWT makes them, of every algorithm that jwt_authn takes, and the keys for them.

Prints {"keys": JWK set, "tokens": {algorithm: token}, "symmetric": token, "none": token}. Needs PyJWT and cryptography.
"""

import base64
import json
import secrets

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

claims = {"iss": "me", "aud": "here", "sub": "joe", "exp": 4000000000, "nbf": 1000000000}
rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
private = {name: rsa_key for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")}
private["ES256"] = ec.generate_private_key(ec.SECP256R1())
private["ES384"] = ec.generate_private_key(ec.SECP384R1())
private["ES512"] = ec.generate_private_key(ec.SECP521R1())
private["EdDSA"] = ed25519.Ed25519PrivateKey.generate()

keys, tokens = [], {}
for algorithm, key in private.items():
    public = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    public.update(kid=algorithm, alg=algorithm, use="sig")
    public.pop("key_ops", None)
    keys.append(public)
    tokens[algorithm] = jwt.encode(claims, key, algorithm, headers={"kid": algorithm})
for size in (256, 384, 512):
    algorithm, secret = "HS%d" % size, secrets.token_bytes(size // 8)
    k = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    keys.append({"kty": "oct", "k": k, "kid": algorithm, "alg": algorithm})
    tokens[algorithm] = jwt.encode(claims, secret, algorithm, headers={"kid": algorithm})
print(json.dumps({
    "keys": {"keys": keys},
    "tokens": tokens,
    # A public key is no secret.
    "symmetric": jwt.encode(claims, keys[0]["n"], "HS256", headers={"kid": "RS256"}),
    "none": jwt.encode(claims, None, "none", headers={"kid": "RS256"}),
}))
