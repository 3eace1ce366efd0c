"""A device by the Paho client: publishes at each QoS, subscribes to its commands, and tells what it saw.

paho_device.py HOST PORT VERSION CLIENT_ID TOPIC COMMAND_TOPIC COUNT START_MS
Prints one JSON object; exits 1 where anything did not happen within 30 s.
"""
import json
import sys
import threading
import time

import paho.mqtt.client as mqtt

host, port, version, client_id, topic, command_topic, count, start_ms = sys.argv[1:]
protocol = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}[version]
granted, commands = threading.Event(), []
command_came = threading.Event()
codes = {}


def on_subscribe(client, userdata, mid, reason_codes, properties):
    codes["suback"] = [str(code) for code in reason_codes]
    granted.set()


def on_message(client, userdata, message):
    commands.append(message.payload.decode())
    command_came.set()


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
client.on_subscribe, client.on_message = on_subscribe, on_message
client.connect(host, int(port), keepalive=20)
client.loop_start()
client.subscribe(command_topic, qos=1)
ok = granted.wait(30)
print("subscribed", file=sys.stderr, flush=True)
published = 0
for n in range(int(count)):
    body = json.dumps({"ts": int(start_ms) + n * 1000, "soil_moisture_10cm": 0.2 + n / 1000, "soil_temp": 14.5})
    info = client.publish(topic, body, qos=n % 3)
    info.wait_for_publish(30)
    published += info.is_published()
ok = command_came.wait(30) and ok
time.sleep(0.2)
client.disconnect()
client.loop_stop()
print(json.dumps({"published": published, "suback": codes.get("suback"), "commands": commands}))
sys.exit(0 if ok and published == int(count) else 1)
