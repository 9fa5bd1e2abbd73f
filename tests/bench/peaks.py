#!/usr/bin/env python3
"""Peak rates and server CPU per request by wrk: verify, guest registration and refresh, beside nginx `return 200`.

The server (or nginx) is pinned to CPU 0, wrk to CPU 1; runs are interleaved and medians reported. wrk is a closed loop: good for
peaks, not for latency. Usage: peaks.py SEAWALL_BINARY OUT_DIR [--runs N] [--seconds S] [SCENARIO ...]
"""
import argparse
import hashlib
import hmac
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

CONNECTIONS = 64
SERVER_CPU, LOADER_CPU = "0", "1"
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def post(url, body, headers=None):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def sign(facts, path, body):
    timestamp, nonce = str(int(time.time())), "bench-" + os.urandom(8).hex()
    lines = "\n".join(["POST", path, timestamp, nonce, hashlib.sha256(body).hexdigest()])
    signature = hmac.new(facts["secret"].encode(), lines.encode(), hashlib.sha256).hexdigest()
    return {"Seawall-Key-Id": facts["key_id"], "Seawall-Timestamp": timestamp, "Seawall-Nonce": nonce, "Seawall-Signature": signature}


class Seawall:
    """The real binary on an empty directory."""

    def __init__(self, binary, folder):
        self.process = subprocess.Popen(["taskset", "-c", SERVER_CPU, binary, "demo", "--json", "--listen", "127.0.0.1:0", "--data", folder],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.facts = json.loads(self.process.stdout.readline())
        self.url = self.facts["plain_url"].rstrip("/")

    def pids(self):
        return [self.process.pid]

    def guest(self):
        return post(self.url + "/sdk/v1/accounts", self.guest_body())

    def guest_body(self):
        device = {"install_id": "bench-" + os.urandom(6).hex()}
        return {"game_id": self.facts["game_id"], "credential": {"kind": "guest"},
                "client": {"package_id": self.facts["package_id"], "os": "android", "device": device}}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Nginx:
    """nginx with one worker, answering a fixed body of the size of a verify answer."""

    def __init__(self, folder, answer_bytes):
        body = "x" * answer_bytes
        self.port = 18080
        config = f"""worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}; proxy_temp_path {folder};
fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
server {{ listen 127.0.0.1:{self.port} backlog=4096; location / {{ default_type application/json; return 200 "{body}"; }} }} }}"""
        path = os.path.join(folder, "nginx.conf")
        with open(path, "w") as out:
            out.write(config)
        self.process = subprocess.Popen(["taskset", "-c", SERVER_CPU, "nginx", "-c", path, "-p", folder], stderr=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{self.port}"
        deadline = time.time() + 10
        while time.time() < deadline:
            try:
                urllib.request.urlopen(self.url, timeout=1).read()
                break
            except OSError:
                time.sleep(0.05)

    def pids(self):
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        return [self.process.pid] + [int(pid) for pid in children]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


def lua_fixed(path, body, headers):
    lines = ['wrk.method = "POST"', f'wrk.path = "{path}"', f"wrk.body = [==[{body}]==]", 'wrk.headers["Content-Type"] = "application/json"']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    return "\n".join(lines) + LUA_COUNT


LUA_COUNT = """
local bad = 0
local threads = {}
function setup(thread) table.insert(threads, thread) end
function response(status, headers, body) if status >= 300 then bad = bad + 1 end; if after then after(status, body) end end
function done(summary, latency, requests)
  local n = 0
  for _, thread in ipairs(threads) do n = n + (thread:get("refused") or 0) end
  io.write(string.format("BAD %d\\n", n))
end
"""
LUA_COUNT = LUA_COUNT.replace("bad = bad + 1", "refused = (refused or 0) + 1").replace("local bad = 0\n", "refused = 0\n")

LUA_REFRESH = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local tokens, head, tail = {}, 1, 0
for line in io.lines("TOKENS") do tail = tail + 1; tokens[tail] = line end
function request()
  local token = tokens[head]; tokens[head] = nil; head = head + 1
  return wrk.format(nil, "/sdk/v1/sessions/refresh", nil, '{"refresh_token":"' .. token .. '"}')
end
function after(status, body)
  local token = string.match(body, '"refresh_token":"([^"]+)"')
  if token then tail = tail + 1; tokens[tail] = token end
end
"""


def wrk(target, script, folder, seconds):
    path = os.path.join(folder, "load.lua")
    with open(path, "w") as out:
        out.write(script)
    before, begun = cpu_seconds(target.pids()), time.time()
    text = subprocess.run(["taskset", "-c", LOADER_CPU, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", path, target.url],
                          capture_output=True, text=True).stdout
    used = cpu_seconds(target.pids()) - before
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    refused = int(re.search(r"BAD (\d+)", text).group(1))
    return {"rate": rate, "cpu_us": used * 1e6 / max(requests, 1), "refused": refused, "requests": requests}


def sync_p50_us(folder):
    times, block = [], b"x" * 4096
    path = os.path.join(folder, "sync")
    with open(path, "wb") as out:
        for _ in range(200):
            out.write(block)
            out.flush()
            begun = time.perf_counter()
            os.fdatasync(out.fileno())
            times.append((time.perf_counter() - begun) * 1e6)
    return statistics.median(times)


def scripts(seawall, folder):
    token = seawall.guest()["session"]["access_token"]
    body = json.dumps({"token": token})
    path = "/server/v1/sessions/verify"
    tokens = os.path.join(folder, "tokens")
    with open(tokens, "w") as out:
        for _ in range(CONNECTIONS * 4):
            out.write(seawall.guest()["session"]["refresh_token"] + "\n")
    return {
        "verify-hot": lua_fixed(path, body, sign(seawall.facts, path, body.encode())),
        "guest-registration": lua_fixed("/sdk/v1/accounts", json.dumps(seawall.guest_body()), {}),
        "refresh": LUA_REFRESH.replace("TOKENS", tokens) + LUA_COUNT,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("out")
    parser.add_argument("scenarios", nargs="*")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    for tool in ("wrk", "nginx", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install wrk nginx-light util-linux")
    folder = tempfile.mkdtemp(prefix="seawall-bench-")
    seawall = Seawall(options.binary, os.path.join(folder, "data"))
    nginx = Nginx(folder, 420)
    rows = []
    try:
        plans = {name: script for name, script in scripts(seawall, folder).items() if not options.scenarios or name in options.scenarios}
        if not plans:
            sys.exit(f"no such scenario: {options.scenarios}")
        sync = sync_p50_us(folder)
        peer_script = lua_fixed("/", '{"token":"' + "x" * 120 + '"}', {})
        for name, script in plans.items():
            mine, peer = [], []
            for _ in range(options.runs):
                mine.append(wrk(seawall, script, folder, options.seconds))
                peer.append(wrk(nginx, peer_script, folder, options.seconds))
                if name == "refresh":  # a run leaves its tokens rotated
                    script = scripts(seawall, folder)["refresh"]
            for metric, unit in (("rate", "requests/s"), ("cpu_us", "CPU-us/request")):
                ours, theirs = (statistics.median(run[metric] for run in runs) for runs in (mine, peer))
                rows.append({"scenario": name, "metric": metric, "unit": unit, "value": round(ours, 2), "peer": "nginx return 200", "peer_value": round(theirs, 2),
                             "ratio": round(ours / theirs, 3) if theirs else None, "goal": None, "goal_met": None,
                             "runs": [round(run[metric], 2) for run in mine], "sync_p50_us": round(sync, 1)})
            rows.append({"scenario": name, "metric": "refused", "unit": "answers >= 300", "value": sum(run["refused"] for run in mine), "peer": None,
                         "peer_value": None, "ratio": None, "goal": 0, "goal_met": sum(run["refused"] for run in mine) == 0, "runs": [run["refused"] for run in mine],
                         "sync_p50_us": round(sync, 1)})
    finally:
        seawall.stop()
        nginx.stop()
        shutil.rmtree(folder, ignore_errors=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    machine = f"{os.cpu_count()} cores, {cpu}, Linux {platform.release()}"
    command = "peaks.py " + " ".join(sys.argv[3:])
    for row in rows:
        row.update(machine=machine, commit=commit, command=command)
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, "report.json"), "w") as out:
        json.dump(rows, out, indent=1)
    lines = [f"# Bench report, {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}", "", f"{machine}; commit {commit}; `{command}`; "
             f"fdatasync p50 {sync:.0f} us; {CONNECTIONS} kept connections, server on CPU {SERVER_CPU}, loader on CPU {LOADER_CPU}; medians of {options.runs} interleaved runs.",
             "", "| scenario | metric | ours | peer | peer's | ratio | runs |", "|---|---|---|---|---|---|---|"]
    lines += [f"| {row['scenario']} | {row['unit']} | {row['value']} | {row['peer'] or ''} | {row['peer_value'] or ''} | {row['ratio'] or ''} | {row['runs']} |" for row in rows]
    with open(os.path.join(options.out, "report.md"), "w") as out:
        out.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
