"""A thermometer: readings when they change, and an interval that the fleet configures.

On this machine:  FLEETBUS_AGENT=hall python -m edge examples/edge/thermometer.py
For a device:     fleetbus edge bundle examples/edge/thermometer.py --agent hall --url nats://…
Configure it:     fleetbus config set instance.hall interval:=30
Calibrate it:     fleetbus broadcast calibrate celsius=21.5 --select agent=hall
"""

import time

from edge import Agent

agent = Agent(labels={"kind": "thermometer"})
last = {"read": 0, "offset": 0.0}


def measured():
    """Degrees Celsius: of a DS18B20 on pin 4, else of one that only seems to be there."""
    try:
        import ds18x20
        import machine
        import onewire
    except ImportError:
        # Half a degree up and down in a minute.
        return 21.0 + abs(int(time.time()) % 60 - 30) / 60
    wire = ds18x20.DS18X20(onewire.OneWire(machine.Pin(4)))
    chips = wire.scan()
    wire.convert_temp()
    time.sleep(0.75)
    return wire.read_temp(chips[0])


@agent.on_config("interval")
def check(new, old):
    """Seconds between readings; 5 unless the fleet says otherwise."""
    if new is not None and (not isinstance(new, (int, float)) or not 1 <= new <= 3600):
        raise ValueError("interval is 1 to 3600 seconds")


@agent.telemetry("celsius", every=1.0, unit="°C", deadband=0.1, max_interval=300, batch=5)
def celsius():
    """Looked at every second, read at the interval; None is no reading."""
    now = time.time()
    if now - last["read"] < agent.config.get("interval", 5):
        return None
    last["read"] = now
    return round(measured() + last["offset"], 2)


@agent.command("calibrate", params={"celsius": float})
async def calibrate(celsius):
    """What a better thermometer beside this one shows; answers the offset."""
    last["offset"] = round(celsius - measured(), 2)
    return last["offset"]


if __name__ == "__main__":
    agent.run()
