#!/usr/bin/env python3
"""Takes over generated accounts with the real binary and logs a sample in with their old passwords, by every recipe.

Prints rate, the server's peak memory and disk bytes per account. Usage:
takeover.py SEAWALL_BINARY GENERATE_ACCOUNTS_BINARY OUT_DIR [--count N] [--logins N]
"""
import argparse
import collections
import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


PEPPER = "old-platform-pepper"
RECIPES = ["md5(password)", "md5(password+salt)", "md5(salt+password)", "md5(md5(password)+salt)", "sha1(password+salt)",
           "sha1(sha1(password)+salt)", "sha256(salt+password)", "sha256(password+salt+pepper)", "bcrypt", "phpass", "argon2"]
CHEAP, SLOW_EVERY = 8, 997


def recipe(uid):
    slow = len(RECIPES) - CHEAP
    return RECIPES[CHEAP + uid % SLOW_EVERY] if uid % SLOW_EVERY < slow else RECIPES[uid % CHEAP]


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def peak_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def disk_bytes(folder):
    return sum(os.path.getsize(os.path.join(where, name)) for where, _, names in os.walk(folder) for name in names)


def sample(first, count, wanted):
    """Uids spread over the file, as many of each recipe as there are, evenly."""
    by_recipe = collections.defaultdict(list)
    for uid in range(first, first + count):
        by_recipe[recipe(uid)].append(uid)
    share = -(-wanted // len(RECIPES))
    return [uid for uids in by_recipe.values() for uid in uids[:: max(1, len(uids) // share)][:share]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("generator")
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--logins", type=int, default=1000)
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="seawall-takeover-")
    file, pepper, data = (os.path.join(folder, name) for name in ("accounts.ndjson", "pepper", "data"))
    first = 1_000_000
    with open(file, "wb") as out:
        subprocess.run([options.generator, "--count", str(options.count), "--first-uid", str(first)], stdout=out, check=True)
    with open(pepper, "w") as out:
        out.write(PEPPER)
    server = subprocess.Popen([options.binary, "demo", "--json", "--listen", "127.0.0.1:0", "--data", data], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        facts = json.loads(server.stdout.readline())
        begun, server_cpu, own_cpu = time.monotonic(), cpu_seconds([server.pid]), os.times()
        done = subprocess.run([options.binary, "account", "import", file, "--pepper-file", pepper, "--json", "--data", data], capture_output=True, text=True)
        seconds, server_cpu = time.monotonic() - begun, cpu_seconds([server.pid]) - server_cpu
        client_cpu = os.times().children_user + os.times().children_system - own_cpu.children_user - own_cpu.children_system
        print(done.stdout.strip().splitlines()[-1] if done.stdout else done.stderr)
        if done.returncode != 0:
            sys.exit(f"the import left with {done.returncode}: {done.stderr[-2000:]}")
        after_import = peak_bytes(server.pid)

        def login(uid):
            body = {"game_id": facts["game_id"], "credential": {"kind": "username", "username": f"player{uid}", "password": f"pass-{uid}-word"},
                    "client": {"package_id": facts["package_id"], "os": "android", "device": {"install_id": f"takeover-{uid}"}}}
            status, answer = post(facts["plain_url"].rstrip("/") + "/sdk/v1/sessions", body)
            if status == 200:
                return uid, "ok" if answer["player_id"] == str(uid) else f"player_id {answer['player_id']}"
            return uid, answer.get("code", str(status))

        results = collections.defaultdict(collections.Counter)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for uid, result in pool.map(login, sample(first, options.count, options.logins)):
                results[recipe(uid)][result] += 1
        bad = sum(number for counter in results.values() for result, number in counter.items() if result not in ("ok", "account.restricted"))
        report = {"accounts": options.count, "seconds": round(seconds, 1), "accounts_per_second": round(options.count / seconds),
                  "server_cpu_us_per_account": round(server_cpu * 1e6 / options.count, 1),
                  "client_cpu_us_per_account": round(client_cpu * 1e6 / options.count, 1),
                  "peak_memory_bytes": after_import, "disk_bytes_per_account": round(disk_bytes(data) / options.count),
                  "logins": {name: dict(counter) for name, counter in results.items()}, "wrong": bad}
        print(json.dumps(report, indent=1))
        os.makedirs(options.out, exist_ok=True)
        with open(os.path.join(options.out, "takeover.json"), "w") as out:
            json.dump(report, out, indent=1)
        if bad or set(results) != set(RECIPES):
            sys.exit("some imported players could not log in with their old password")
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(40)
        except subprocess.TimeoutExpired:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
