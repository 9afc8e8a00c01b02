"""A thing: a relay with a button and a thermometer that speaks nothing but MQTT 3.1.1.

    MQTT_PASSWORD=secret python examples/edge/thing.py relay-1

FLEETBUS_FLEET, MQTT_HOST and MQTT_PORT say where (dev, 127.0.0.1, 1883); without a password it logs
in as nobody, which `fleetbus up --mqtt 1883` allows. docs/mqtt.md explains each step. Ctrl-C says
goodbye, so that what it holds is done elsewhere at once.
"""

import json
import os
import queue
import random
import sys
import time
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

if len(sys.argv) != 2:
    sys.exit("usage: [MQTT_PASSWORD=...] python thing.py ID     (for example relay-1)")
FLEET, THING = os.environ.get("FLEETBUS_FLEET", "dev"), sys.argv[1]
HOST, PORT = os.environ.get("MQTT_HOST", "127.0.0.1"), int(os.environ.get("MQTT_PORT", "1883"))
ROOT, BOOT = f"fleet/{FLEET}/thing/{THING}", os.urandom(4).hex()  # a boot is one power-up
inbox: queue.Queue[Any] = queue.Queue()  # so that all is done in one thread
running: dict[str, Any] = {}  # by task: when it is done, and what it then sets
unconfirmed: dict[str, Any] = {}  # results, kept until `done` says that they are stored
answered: dict[str, Any] = {}  # by command: the last answers, since a command may come twice
relay: dict[str, Any] = {"on": False, "busy_every": 3.0, "seq": 0, "config": "", "ahead": 0.0}
stated = measured = time.monotonic()
announced = 0.0  # when, while nobody has answered that


def note(text):
    print(f"{THING}: {text}", file=sys.stderr, flush=True)


def say(kind, body, qos=1):
    return client.publish(f"{ROOT}/up/{kind}", json.dumps(body), qos)


def measure(**values):
    relay["seq"] += 1
    say("telemetry", {"boot": BOOT, "seq": relay["seq"], "values": values})


def finish(task, attempt, **result):
    unconfirmed[task] = {"task": task, "attempt": attempt, **result}
    say("result", unconfirmed[task])


def about(**more):
    return {"boot": BOOT, "tasks": [*running, *unconfirmed], "config": relay["config"], **more}


def press(body):  # the only command that is announced: as if a hand had done it
    if 0 < body.get("expires_ms", 0) < (time.time() + relay["ahead"]) * 1000:
        return {"command": body["command"], "state": "rejected", "error": "it came too late"}
    relay["on"] = not relay["on"]
    measure(button=1)
    return {"command": body["command"], "state": "ok", "output": {"on": relay["on"]}}


def on_told(kind, body):
    global announced, stated
    if kind in ("subscribed", "who"):
        offer = {"capabilities": [{"name": "switch"}], "commands": ["press"]}
        say("announce", about(slots=2, every=10, labels={"kind": "relay"}, **offer))
        announced = time.monotonic()
        for result in unconfirmed.values():
            say("result", result)
    elif kind == "hello" and body["boot"] == BOOT:
        announced = 0.0
        relay["busy_every"] = body["busy_every"]
        relay["ahead"] = body["now_ms"] / 1000 - time.time()  # the fleet's clock, of ours
        note(f"in fleet {FLEET}")
    elif kind == "task" and body["boot"] == BOOT and body["task"] not in about()["tasks"]:
        wish = body.get("input")
        wish = wish if isinstance(wish, dict) else {}
        seconds = wish.get("seconds", 0)
        good = isinstance(seconds, int | float) and 0 <= seconds <= 3600
        if good and isinstance(wish.get("on"), bool):
            running[body["task"]] = time.monotonic() + seconds, wish["on"], body["attempt"]
        else:
            error = {"message": 'say {"on": true} or false, and "seconds": 0 to 3600 if you like'}
            finish(body["task"], body["attempt"], state="rejected", error=error)
    elif kind == "cancel" and body["task"] in running:
        finish(body["task"], running.pop(body["task"])[2], state="canceled")
    elif kind == "done":
        unconfirmed.pop(body["task"], None)
    elif kind == "config":
        relay["config"], stated = body["hash"], 0.0  # body["values"] is what it says; tell at once
    elif kind == "command":
        if body["command"] not in answered:
            answered[body["command"]] = press(body)
            while len(answered) > 20:
                del answered[next(iter(answered))]
        say("reply", answered[body["command"]])


def on_connect(client, data, flags, reason, properties):
    if reason.is_failure:  # paho tries again, and so should a device
        note(f"the server refused: {reason}. Is {THING} a user there, and MQTT_PASSWORD its own?")
    else:
        client.subscribe(f"{ROOT}/down/+", qos=1)


def on_subscribe(client, data, mid, codes, properties):
    if codes[0].is_failure:  # a device would try again later; it hears nothing till then
        note("the server refused the subscription: no right to it, or no room for more")
    else:
        inbox.put(("subscribed", {}))


def on_message(client, data, message):
    inbox.put((message.topic.rsplit("/", 1)[1], json.loads(message.payload)))


client = Client(CallbackAPIVersion.VERSION2, f"thing:{FLEET}:{THING}", clean_session=False)
if "MQTT_PASSWORD" in os.environ:
    client.username_pw_set(THING, os.environ["MQTT_PASSWORD"])
client.will_set(f"{ROOT}/up/gone", json.dumps({"boot": BOOT}), qos=1)
client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.on_connect_fail = lambda *_: note(f"nobody answers at {HOST}:{PORT}, trying again")
client.on_disconnect = lambda *got: note(f"the connection ended: {got[3]}")
client.connect_async(HOST, PORT, keepalive=15)
client.loop_start()
try:
    while True:
        try:
            on_told(*inbox.get(timeout=0.1))
        except queue.Empty:
            now = time.monotonic()
            for task in [task for task, job in running.items() if job[0] <= now]:
                _, relay["on"], attempt = running.pop(task)
                finish(task, attempt, state="completed", output={"on": relay["on"]})
            if not client.is_connected():
                continue
            if now - stated >= (relay["busy_every"] / 2 if about()["tasks"] else 10):
                stated = now
                say("state", about(), qos=0)
            if now - measured >= 10:
                measured = now
                measure(temp_c=round(random.gauss(21, 0.2), 2))
                for result in unconfirmed.values():
                    say("result", result)
                if announced and now - announced > 5:
                    note("nobody has answered its announce: the coordinator's log says why")
except KeyboardInterrupt:
    say("bye", {"boot": BOOT}).wait_for_publish(3)
    client.disconnect()
