"""Hooks of the schemathesis run: signs server calls, carries a live session, puts live ids into calls that are meant to be
right, and counts what succeeded. Facts of the running server come from the environment (SEAWALL_FACTS, one JSON line)."""
import collections
import hashlib
import hmac
import json
import os
import time
import urllib.request
from urllib.parse import urlsplit

import requests
import schemathesis

FACTS = json.loads(os.environ["SEAWALL_FACTS"])
COUNTS = os.environ["SEAWALL_COUNTS"]
BASE = FACTS["plain_url"].rstrip("/")
PASSWORD = "a long enough password"
counts = collections.Counter()


def post(path, body, token=None):
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    request = urllib.request.Request(BASE + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def client():
    return {"package_id": FACTS["package_id"], "os": "android", "device": {"install_id": "conformance-" + os.urandom(6).hex()}}


def register(kind="guest"):
    credential = {"kind": "guest"}
    if kind == "username":
        credential = {"kind": "username", "username": "live" + os.urandom(6).hex(), "password": PASSWORD}
    answer = post("/sdk/v1/accounts", {"game_id": FACTS["game_id"], "credential": credential, "client": client()})
    return answer, credential


LIVE, _ = register("username")
_, LOGIN_CREDENTIAL = register("username")  # another account: a login replaces the account's older sessions


class Sign(requests.auth.AuthBase):
    """Signs the bytes that are really sent."""

    def __call__(self, request):
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        parts = urlsplit(request.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        timestamp, nonce = str(int(time.time())), "nonce-" + os.urandom(8).hex()
        lines = "\n".join([request.method, path, timestamp, nonce, hashlib.sha256(body).hexdigest()])
        request.headers["Seawall-Key-Id"] = FACTS["key_id"]
        request.headers["Seawall-Timestamp"] = timestamp
        request.headers["Seawall-Nonce"] = nonce
        request.headers["Seawall-Signature"] = hmac.new(FACTS["secret"].encode(), lines.encode(), hashlib.sha256).hexdigest()
        return request


def make_live(path, body):
    """Live values instead of invented ones, so that a call that is right in form is right in fact."""
    if "game_id" in body:
        body["game_id"] = FACTS["game_id"]
    if isinstance(body.get("client"), dict):
        body["client"]["package_id"] = FACTS["package_id"]
    if "refresh_token" in body:
        body["refresh_token"] = register()[0]["session"]["refresh_token"]
    if "token" in body:
        body["token"] = LIVE["session"]["access_token"]
        body.pop("player_id", None)
    if "player_id" in body and path.endswith("/players/logout"):
        body["player_id"] = register()[0]["player_id"]
    if path.endswith("/sessions") and isinstance(body.get("credential"), dict) and body["credential"].get("kind") == "username":
        body["credential"] = LOGIN_CREDENTIAL
    if path.endswith(("/accounts", "/identities")) and isinstance(body.get("credential"), dict):
        if path.endswith("/identities") or body["credential"].get("kind") == "username":
            body["credential"] = {"kind": "username", "username": "new" + os.urandom(6).hex(), "password": PASSWORD}
        else:
            body["credential"] = {"kind": "guest"}
    if path.endswith("/sessions") and isinstance(body.get("credential"), dict) and body["credential"].get("kind") == "guest":
        body["credential"], body["create_if_missing"] = {"kind": "guest"}, True
    if "old_password" in body:
        body["old_password"], body["new_password"] = PASSWORD, PASSWORD + "!"


def bearer_for(path):
    if path.endswith(("/logout", "/identities")):
        return register()[0]["session"]["access_token"]
    if path.endswith("/password"):
        return register("username")[0]["session"]["access_token"]
    return LIVE["session"]["access_token"]


def is_meant_right(case):
    return case.meta is not None and case.meta.generation.mode.is_positive


@schemathesis.hook
def before_call(context, case, kwargs):
    if not is_meant_right(case):
        return
    path = case.operation.path
    if isinstance(case.body, dict):
        make_live(path, case.body)
    if any(name.lower() == "idempotency-key" for name in case.headers or {}):
        case.headers["Idempotency-Key"] = "key-" + os.urandom(8).hex()
    if path.startswith("/server/"):
        kwargs["auth"] = Sign()
    elif path.startswith("/sdk/v1/") and not path.endswith(("/sessions/refresh", "/accounts")):
        if case.operation.method.upper() == "GET" or path != "/sdk/v1/sessions":
            case.headers["Authorization"] = "Bearer " + bearer_for(path)


@schemathesis.hook
def after_call(context, case, response):
    counts["calls"] += 1
    counts[f"status_{response.status_code}"] += 1
    if response.status_code < 300:
        counts["succeeded"] += 1
        counts["ok " + case.operation.label] += 1
    else:
        counts["refused " + case.operation.label] += 1
    with open(COUNTS, "w") as out:
        json.dump(counts, out)
