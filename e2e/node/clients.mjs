// Checks of a broker with MQTT.js. Usage: clients.mjs CHECK < settings.json
//
// settings: urls (of each transport), ca (file), username, password, module (the folder that MQTT.js is installed in).
// Each check runs for every transport and version, and ends with 0, or with a sentence on standard error.
import {readFileSync} from "node:fs"
import {createRequire} from "node:module"

const settings = JSON.parse(readFileSync(0, "utf8"))
const mqtt = createRequire(settings.module + "/")("mqtt")
const ca = readFileSync(settings.ca)
const WITHIN = 15_000
const open = new Set()

const expect = (condition, sentence) => {
  if (!condition) throw new Error(sentence)
}

const within = (promise, what) =>
  Promise.race([promise, new Promise((_, fail) => setTimeout(() => fail(new Error(`${what}: not in time`)), WITHIN).unref())])

const eventually = async (holds, what) => {
  const deadline = Date.now() + WITHIN
  while (!holds()) {
    expect(Date.now() < deadline, `${what}: not in time`)
    await new Promise((done) => setTimeout(done, 10))
  }
}

// One client, with its messages in a queue.
class Device {
  constructor(place, clientId, options = {}) {
    const {version = place.version, clean = true, expiry, ...more} = options
    this.messages = []
    this.waiting = []
    this.client = mqtt.connect(place.url, {
      ca, clientId, clean, protocolVersion: version, reconnectPeriod: 0, connectTimeout: WITHIN,
      username: settings.username, password: settings.password,
      ...(version === 5 && expiry !== undefined ? {properties: {sessionExpiryInterval: expiry}} : {}),
      ...more,
    })
    open.add(this.client)
    this.client.on("message", (topic, payload, packet) => {
      const message = {topic, payload: payload.toString(), packet}
      const waiting = this.waiting.shift()
      if (waiting) waiting(message)
      else this.messages.push(message)
    })
    this.answered = new Promise((done, fail) => {
      this.client.once("connect", done)
      this.client.once("error", fail)
    })
    this.answered.catch(() => {})
    this.closed = new Promise((done) => this.client.once("close", done))
  }

  static async in(place, clientId, options) {
    const device = new Device(place, clientId, options)
    device.connack = await within(device.answered, `${clientId} connects`)
    return device
  }

  // The reason codes of SUBACK.
  subscribe(filter, options = {qos: 1}) {
    const answer = (done, fail) => (error, granted, packet) => packet ? done(packet.granted) : fail(error ?? new Error("no SUBACK"))
    return within(new Promise((done, fail) => this.client.subscribe(filter, options, answer(done, fail))), `SUBACK ${filter}`)
  }

  // The error that refuses it; null when it is accepted.
  publish(topic, payload, options = {qos: 1}) {
    return within(new Promise((done) => this.client.publish(topic, payload, options, (error) => done(error ?? null))), `acknowledgement ${topic}`)
  }

  receive() {
    const next = this.messages.shift()
    return next ? Promise.resolve(next) : within(new Promise((done) => this.waiting.push(done)), "a message")
  }

  async leave() {
    await within(this.client.endAsync(), "the end")
    open.delete(this.client)
  }

  // The Network Connection ends without DISCONNECT.
  async vanish() {
    this.client.stream.destroy()
    await within(this.closed, "the loss")
    open.delete(this.client)
  }
}

const own = (place, name) => `own/${place.name}/${name}`

const checks = {
  async every_qos(place) {
    for (const qos of [0, 1, 2]) {
      const listener = await Device.in(place, `listener-${place.name}`)
      await listener.subscribe(own(place, "#"), {qos})
      const sender = await Device.in(place, `sender-${place.name}`)
      for (let n = 0; n < 20; n++) expect(await sender.publish(own(place, "q"), `${n}`, {qos}) === null, `QoS ${qos}: refused`)
      for (let n = 0; n < 20; n++) {
        const {payload, packet} = await listener.receive()
        expect(payload === `${n}` && packet.qos === qos, `QoS ${qos}: message ${n} is ${payload} with QoS ${packet.qos}`)
      }
      await sender.leave()
      await listener.leave()
    }
  },

  async retained(place) {
    const sender = await Device.in(place, `sender-${place.name}`)
    await sender.publish(own(place, "state"), "on", {qos: 1, retain: true})
    const listener = await Device.in(place, `listener-${place.name}`)
    await listener.subscribe(own(place, "state"))
    const message = await listener.receive()
    expect(message.payload === "on" && message.packet.retain, `${message.payload} ${message.packet.retain}`)
    await sender.publish(own(place, "state"), "", {qos: 1, retain: true})
    expect((await listener.receive()).payload === "", "the message that clears it")
    const late = await Device.in(place, `late-${place.name}`)
    await late.subscribe(own(place, "state"))
    await sender.publish(own(place, "state"), "marker")
    expect((await late.receive()).payload === "marker", "a cleared retained message came")
    for (const device of [sender, listener, late]) await device.leave()
  },

  async will(place) {
    const listener = await Device.in(place, `listener-${place.name}`)
    await listener.subscribe(own(place, "will"))
    const will = {topic: own(place, "will"), payload: "gone", qos: 1}
    await (await Device.in(place, `mortal-${place.name}`, {will})).vanish()
    expect((await listener.receive()).payload === "gone", "the will")
    await (await Device.in(place, `mortal-${place.name}`, {will})).leave()
    const sender = await Device.in(place, `sender-${place.name}`)
    await sender.publish(own(place, "will"), "marker")
    expect((await listener.receive()).payload === "marker", "a will after DISCONNECT")
    await sender.leave()
    await listener.leave()
  },

  async session_resumption(place) {
    const kept = {clean: false, expiry: 300}
    const first = await Device.in(place, `kept-${place.name}`, kept)
    expect(!first.connack.sessionPresent, "a new client has no session")
    await first.subscribe(own(place, "kept"))
    await first.vanish()
    const sender = await Device.in(place, `sender-${place.name}`)
    for (let n = 0; n < 5; n++) await sender.publish(own(place, "kept"), `${n}`)
    const again = await Device.in(place, `kept-${place.name}`, kept)
    expect(again.connack.sessionPresent, "the session is lost")
    for (let n = 0; n < 5; n++) expect((await again.receive()).payload === `${n}`, `message ${n}`)
    await again.leave()
    const clean = await Device.in(place, `kept-${place.name}`)
    expect(!clean.connack.sessionPresent, "a clean start has a session")
    await clean.leave()
    await sender.leave()
  },

  async topic_alias(place) {
    if (place.version !== 5) return
    const properties = {topicAliasMaximum: 10}
    const listener = await Device.in(place, `listener-${place.name}`, {properties})
    await listener.subscribe(own(place, "alias"))
    const sender = await Device.in(place, `sender-${place.name}`, {autoAssignTopicAlias: true})
    expect(sender.connack.properties.topicAliasMaximum > 0, "the broker takes no alias")
    for (let n = 0; n < 3; n++) expect(await sender.publish(own(place, "alias"), `${n}`) === null, "refused")
    for (let n = 0; n < 3; n++) {
      const {topic, payload} = await listener.receive()
      expect(topic === own(place, "alias") && payload === `${n}`, `message ${n}: ${topic} ${payload}`)
    }
    await sender.leave()
    await listener.leave()
  },

  async subscription_identifiers(place) {
    if (place.version !== 5) return
    const listener = await Device.in(place, `listener-${place.name}`)
    await listener.subscribe(own(place, "id"), {qos: 1, properties: {subscriptionIdentifier: 7}})
    const sender = await Device.in(place, `sender-${place.name}`)
    await sender.publish(own(place, "id"), "x")
    const {packet} = await listener.receive()
    expect([packet.properties.subscriptionIdentifier].flat().includes(7), JSON.stringify(packet.properties))
    await sender.leave()
    await listener.leave()
  },

  async shared_subscription(place) {
    const members = []
    for (const n of [0, 1]) {
      const member = await Device.in(place, `member-${n}-${place.name}`)
      await member.subscribe(`$share/g/${own(place, "work")}`)
      members.push(member)
    }
    const sender = await Device.in(place, `sender-${place.name}`)
    for (let n = 0; n < 10; n++) await sender.publish(own(place, "work"), `${n}`)
    const got = []
    await eventually(() => {
      for (const member of members) got.push(...member.messages.splice(0))
      return got.length >= 10
    }, "the group's messages")
    const numbers = got.map(({payload}) => Number(payload)).sort((a, b) => a - b)
    expect(numbers.join() === [...Array(10).keys()].join(), `the group got ${numbers}`)
    for (const device of [...members, sender]) await device.leave()
  },

  async refusals(place) {
    const refusal = async (options) => new Device(place, `refused-${place.name}`, options).answered.then(() => null, (error) => error)
    const wrong = await within(refusal({password: "wrong"}), "a refusal")
    const codes = place.version === 5 ? [0x86, 0x87] : [4, 5]
    expect(codes.includes(wrong?.code), `a wrong password: ${wrong} ${wrong?.code}`)
    const device = await Device.in(place, `device-${place.name}`)
    if (place.version === 5) {
      const error = await device.publish("others/x", "x")
      expect(error?.code === 0x87, `a denied publish: ${error}`)
      const codes = await device.subscribe("a/".repeat(200) + "b")
      expect(codes[0] === 0x8f, `a filter of too many levels: ${codes}`)
    }
    expect(await device.publish(own(place, "x"), "x") === null, "the connection goes on")
    await device.leave()
  },
}

const check = process.argv[2]
for (const [transport, url] of Object.entries(settings.urls)) {
  for (const version of [4, 5]) {
    const place = {name: `${transport}-${version}`, url, version}
    try {
      await checks[check](place)
    } catch (error) {
      console.error(`${check}, ${transport}, protocol level ${version}: ${error.message}`)
      process.exit(1)
    }
  }
}
open.forEach((client) => client.end(true))
process.exit(0)
