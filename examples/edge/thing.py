"""A thing: a relay with a button and a thermometer that speaks nothing but MQTT 3.1.1.

    python examples/edge/thing.py relay-1

FLEETBUS_FLEET, MQTT_HOST, MQTT_PORT and MQTT_PASSWORD say where. docs/mqtt.md explains each step.
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

FLEET, THING = os.environ.get("FLEETBUS_FLEET", "dev"), sys.argv[1]
ROOT, BOOT = f"fleet/{FLEET}/thing/{THING}", os.urandom(4).hex()  # a boot is one power-up
inbox: queue.Queue[Any] = queue.Queue()  # so that all is done in one thread
running: dict[str, Any] = {}  # by task: when it is done, and what it then sets
unconfirmed: dict[str, Any] = {}  # results, kept until `done` says that they are stored
relay: dict[str, Any] = {"on": False, "busy_every": 3.0, "seq": 0, "config": ""}


def say(kind, body, qos=1):
    client.publish(f"{ROOT}/up/{kind}", json.dumps(body), qos)


def measure(**values):
    relay["seq"] += 1
    say("telemetry", {"boot": BOOT, "seq": relay["seq"], "values": values})


def finish(task, **result):
    unconfirmed[task] = {"task": task, **result}
    say("result", unconfirmed[task])


def about(**more):
    return {"boot": BOOT, "tasks": [*running, *unconfirmed], "config": relay["config"], **more}


def on_told(kind, body):
    if kind in ("subscribed", "who"):
        offer = {"capabilities": [{"name": "switch"}], "commands": ["press"]}
        say("announce", about(slots=2, every=10, labels={"kind": "relay"}, **offer))
    elif kind == "hello":
        relay["busy_every"] = body["busy_every"]
    elif kind == "task" and body["boot"] == BOOT and body["task"] not in about()["tasks"]:
        wish = body.get("input")
        if isinstance(wish, dict) and isinstance(wish.get("on"), bool):
            running[body["task"]] = time.monotonic() + wish.get("seconds", 0), wish["on"]
        else:
            error = {"message": 'say {"on": true} or false', "kind": "InvalidInput"}
            finish(body["task"], state="rejected", error=error)
    elif kind == "cancel" and body["task"] in running:
        del running[body["task"]]
        finish(body["task"], state="canceled")
    elif kind == "done":
        unconfirmed.pop(body["task"], None)
    elif kind == "config":
        relay["config"] = body["hash"]  # and body["values"] is what it says
    elif kind == "command":  # `press` is the only one announced: as if a hand had done it
        relay["on"] = not relay["on"]
        measure(button=1)
        say("reply", {"command": body["command"], "state": "ok", "output": {"on": relay["on"]}})
    elif kind == "refused":
        sys.exit("the server refused the subscription: no right to it, or no room for more")


client = Client(CallbackAPIVersion.VERSION2, f"thing:{FLEET}:{THING}", clean_session=False)
client.username_pw_set(THING, os.environ.get("MQTT_PASSWORD", ""))
client.will_set(f"{ROOT}/up/gone", json.dumps({"boot": BOOT}), qos=1)
client.on_connect = lambda *_: client.subscribe(f"{ROOT}/down/+", qos=1) and None
client.on_subscribe = lambda *got: inbox.put(
    ("refused" if got[3][0].is_failure else "subscribed", {})
)
client.on_message = lambda *got: inbox.put(
    (got[2].topic.rsplit("/", 1)[1], json.loads(got[2].payload))
)
client.connect(os.environ.get("MQTT_HOST", "127.0.0.1"), int(os.environ.get("MQTT_PORT", 1883)), 15)
client.loop_start()
stated = measured = time.monotonic()
while True:
    try:
        on_told(*inbox.get(timeout=0.1))
    except queue.Empty:
        now = time.monotonic()
        for task in [task for task, (due, _) in running.items() if due <= now]:
            relay["on"] = running.pop(task)[1]
            finish(task, state="completed", output={"on": relay["on"]})
        if now - stated >= (relay["busy_every"] / 2 if about()["tasks"] else 10):
            stated = now
            say("state", about(), qos=0)
        if now - measured >= 10:
            measured = now
            measure(temp_c=round(random.gauss(21, 0.2), 2))
            for result in unconfirmed.values():
                say("result", result)
