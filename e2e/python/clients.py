"""Checks of a running cluster with the Paho client. Usage: clients.py CHECK < settings.json

settings: ports (one per broker), ca, username, password, certificate, key (files), host.
Each check ends with 0, or with a sentence on standard error.
"""
import json
import queue
import ssl
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SETTINGS = json.load(sys.stdin)
WITHIN = 15


class Device:
    """One client, with its answers in queues."""

    def __init__(self, client_id, broker=0, version=mqtt.MQTTv5, who="pump", clean=True, expiry=0, will=None):
        v5 = version == mqtt.MQTTv5
        extra = {} if v5 else {"clean_session": clean}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, **extra)
        self.connected, self.acks, self.messages, self.ended = (queue.Queue() for _ in range(4))
        self.subscribed, self.unsubscribed = queue.Queue(), queue.Queue()
        context = ssl.create_default_context(cafile=SETTINGS["ca"])
        if who == "pump":
            self.client.username_pw_set(SETTINGS["username"], SETTINGS["password"])
        elif who == "control-room":
            context.load_cert_chain(SETTINGS["certificate"], SETTINGS["key"])
        else:
            self.client.username_pw_set(*who)
        self.client.tls_set_context(context)
        self.client.on_connect = lambda c, u, flags, reason, p: self.connected.put((flags, reason, p))
        self.client.on_publish = lambda c, u, mid, reason, p: self.acks.put((mid, reason))
        self.client.on_subscribe = lambda c, u, mid, reasons, p: self.subscribed.put(reasons)
        self.client.on_unsubscribe = lambda c, u, mid, reasons, p: self.unsubscribed.put(reasons)
        self.client.on_message = lambda c, u, message: self.messages.put(message)
        self.client.on_disconnect = lambda c, u, flags, reason, p: self.ended.put(reason)
        if will:
            self.client.will_set(*will)
        properties = None
        if v5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = expiry
        kwargs = {"clean_start": clean, "properties": properties} if v5 else {}
        self.client.connect(SETTINGS["host"], SETTINGS["ports"][broker], keepalive=20, **kwargs)
        self.client.loop_start()
        self.flags, self.reason, self.properties = self.connected.get(timeout=WITHIN)

    def subscribe(self, topic, qos=1):
        self.client.subscribe(topic, qos)
        return self.subscribed.get(timeout=WITHIN)[0]

    def publish(self, topic, payload, qos=1, retain=False):
        self.client.publish(topic, payload, qos, retain)
        return self.acks.get(timeout=WITHIN)[1]

    def receive(self):
        return self.messages.get(timeout=WITHIN)

    def leave(self):
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self):
        """The Network Connection ends without DISCONNECT."""
        self.client.socket().shutdown(2)
        self.client.loop_stop()


def expect(condition, sentence):
    if not condition:
        sys.exit(f"{sys.argv[1]}: {sentence}")


def telemetry(name):
    return f"fleet/{SETTINGS['username']}/telemetry/{name}"


def every_qos_in_both_versions():
    for version in (mqtt.MQTTv5, mqtt.MQTTv311):
        for qos in (0, 1, 2):
            control = Device("control", broker=0, version=version, who="control-room")
            control.subscribe("fleet/#", qos)
            for broker in range(len(SETTINGS["ports"])):
                pump = Device("pump", broker=broker, version=version)
                for n in range(20):
                    pump.publish(telemetry(f"q{qos}"), f"{broker}-{n}", qos)
                got = [control.receive().payload.decode() for _ in range(20)]
                expect(got == [f"{broker}-{n}" for n in range(20)], f"QoS {qos}, version {version}, broker {broker}: {got}")
                pump.leave()
            expect(control.messages.empty(), f"more than was published with QoS {qos}")
            control.leave()


def retained():
    pump = Device("pump", broker=1)
    pump.publish(telemetry("state"), "on", 1, retain=True)
    for broker in range(len(SETTINGS["ports"])):
        control = Device(f"control-{broker}", broker=broker, who="control-room")
        control.subscribe(telemetry("state"))
        message = control.receive()
        expect(message.retain and message.payload == b"on", f"broker {broker}: {message.payload} {message.retain}")
        control.leave()
    pump.publish(telemetry("state"), "", 1, retain=True)
    control = Device("control-last", broker=2 % len(SETTINGS["ports"]), who="control-room")
    control.subscribe(telemetry("state"))
    pump.publish(telemetry("after"), "x", 1)
    control.subscribe(telemetry("after"))
    pump.publish(telemetry("after"), "marker", 1)
    expect(control.receive().payload == b"marker", "a cleared retained message came")


def wills():
    control = Device("control", who="control-room")
    control.subscribe("fleet/#")
    pump = Device("pump", broker=1, will=(telemetry("will"), "gone", 1, False))
    pump.vanish()
    expect(control.receive().payload == b"gone", "the will")
    pump = Device("pump", broker=1, will=(telemetry("will"), "gone again", 1, False))
    pump.leave()
    other = Device("pump", broker=1)
    other.publish(telemetry("marker"), "marker")
    expect(control.receive().payload == b"marker", "a will after a clean DISCONNECT")


def session_is_kept():
    """Over a reconnect to the same broker and to another one; messages that came meanwhile are delivered."""
    for first, second in ((0, 0), (0, 1), (1, 2 % len(SETTINGS["ports"]))):
        name = f"control-{first}-{second}"
        control = Device(name, broker=first, who="control-room", clean=True, expiry=300)
        expect(not control.flags.session_present, "a clean start has no session")
        control.subscribe(telemetry("kept"))
        control.vanish()
        pump = Device("pump", broker=2 % len(SETTINGS["ports"]))
        for n in range(5):
            pump.publish(telemetry("kept"), str(n), 1)
        control = Device(name, broker=second, who="control-room", clean=False, expiry=300)
        expect(control.flags.session_present, f"no session after {first} -> {second}")
        got = [control.receive().payload.decode() for _ in range(5)]
        expect(got == list("01234"), f"{first} -> {second}: {got}")
        control.leave()
        Device(name, broker=second, who="control-room", clean=True).leave()


def one_connection_per_client_id():
    old = Device("same", broker=0)
    new = Device("same", broker=1)
    reason = old.ended.get(timeout=WITHIN)
    old.client.loop_stop()
    expect(getattr(reason, "value", None) == 0x8E, f"the older connection ended with {reason}")
    expect(new.publish(telemetry("x"), "x").value in (0, 16), "the newer one works")


def rights():
    pump = Device("pump")
    expect(pump.publish("fleet/other/telemetry/x", "x").value == 0x87, "a denied publish gets 0x87")
    expect(pump.subscribe("fleet/#").value == 0x87, "a denied subscription gets 0x87")
    pump.client.publish("fleet/other/telemetry/x", "x", 0)
    expect(pump.publish(telemetry("x"), "x").value in (0, 16), "the connection goes on")
    wrong = Device("pump-2", who=(SETTINGS["username"], "wrong"))
    expect(wrong.reason.value in (0x86, 0x87), f"a wrong password: {wrong.reason}")
    unknown = Device("pump-3", who=("nobody", "x"))
    expect(unknown.reason.value in (0x86, 0x87), f"an unknown user: {unknown.reason}")


def the_oldest_version():
    device = Device("old", version=mqtt.MQTTv31)
    expect(not device.reason.is_failure, "MQTT 3.1 is served")
    expect(device.publish(telemetry("old"), "3.1").value in (0, 16), "its message is acknowledged")
    device.leave()


CHECKS = {f.__name__: f for f in (
    every_qos_in_both_versions, retained, wills, session_is_kept, one_connection_per_client_id, rights, the_oldest_version)}

if __name__ == "__main__":
    CHECKS[sys.argv[1]]()
