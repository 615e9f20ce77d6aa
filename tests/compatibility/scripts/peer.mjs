// A client and an agent of the original network, as its protocol describes
// them, over libzmq.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { Dealer, Router } from 'zeromq'

export const TICK = 50
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits for something that must happen. */
export async function eventually (what, probe, patience = 30_000) {
  const end = Date.now() + patience
  for (;;) {
    const found = await probe()
    if (found !== undefined && found !== false && found !== null) return found
    assert(Date.now() < end, `it did not happen in time: ${what}`)
    await sleep(20)
  }
}

export class Peer {
  constructor (address, options = {}) {
    this.address = address
    this.id = options.id ?? randomUUID()
    this.aliveTimeout = options.aliveTimeout ?? 3
    this.pings = options.pings ?? true
    this.register = options.register ?? (async () => {})
    this.handle = options.handle ?? (() => { throw new Error('nothing is asked of a client') })
    this.waiting = new Map()
    this.next = 0
    this.events = []
    this.asked = 0
    this.greeted = 0
    this.retries = []
    this.connects = 0
    this.socket = new Dealer({ linger: 0, ...(options.socket ?? {}) })
    this.socket.events.on('connect', () => { this.connects++; void this.hello() })
    this.socket.connect(`tcp://${address}`)
    if (options.reads !== false) this.reading = this.read()
    if (this.pings) this.timer = setInterval(() => this.send(['5', '', '', '']), 1000)
  }

  // One send after the other: the socket takes no two at a time.
  send (frames) {
    this.sending = (this.sending ?? Promise.resolve()).then(() => this.socket.send(frames)).catch(() => {})
    return this.sending
  }

  hello () {
    return this.send(['0', this.id, JSON.stringify({ aliveTimeout: this.aliveTimeout }), ''])
  }

  async read () {
    try {
      for await (const frames of this.socket) await this.receive(frames.map(String))
    } catch (error) {
      if (!this.closed) throw error
    }
  }

  async receive (frames) {
    assert.equal(frames.length, 3, `a message of a server has three frames: ${JSON.stringify(frames)}`)
    const [operation, id, body] = frames
    switch (operation) {
      case '0':
        this.greeted++
        if (this.server !== id) {
          this.server = id
          void this.register(this)
          for (const [, waiting] of this.waiting) void this.send(waiting.frames)
        }
        break
      case '1': {
        const [method, params] = JSON.parse(body)
        // Not awaited: requests are answered in any order.
        void (async () => {
          try {
            const result = await this.handle(method, params)
            if (result !== NOTHING) await this.send(['2', id, JSON.stringify(result ?? null)])
          } catch (error) {
            await this.send(['3', id, JSON.stringify({ message: error.message, stack: error.stack })])
          }
        })()
        break
      }
      case '2':
      case '3': {
        const waiting = this.waiting.get(id)
        this.waiting.delete(id)
        if (operation === '2') waiting?.resolve(JSON.parse(body))
        else waiting?.reject(Object.assign(new Error(JSON.parse(body).message), JSON.parse(body)))
        break
      }
      case '4':
        this.events.push({ at: Date.now(), ...wrap(JSON.parse(body)) })
        break
      case '6':
        break
      case '7': {
        this.retries.push([id, Number(body)])
        const again = () => { if (this.waiting.has(id)) void this.send(this.waiting.get(id).frames) }
        setTimeout(again, Math.max(1, Number(body)) * TICK)
        break
      }
      case '9':
        this.asked++
        this.server = undefined
        void this.hello()
        break
      default:
        assert.fail(`an unknown operation: ${frames}`)
    }
  }

  request (method, params) {
    return this.raw(JSON.stringify([method, params]))
  }

  raw (body, id = `${this.id}-${this.next++}`) {
    const frames = ['1', id, body]
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, frames })
      // Before, the answer to hello sends it.
      if (this.server !== undefined) void this.send(frames)
    })
  }

  get (kind, request = {}) { return this.request('gg', { kind, request }) }
  list (kind) { return this.request('cl', { kind }) }
  agents () { return this.request('al', {}) }
  cs (container, operation, data) { return this.request('cs', [container, operation, data ?? null]) }

  /** What was told about a container. */
  told (uuid, event) {
    return this.events.find((told) =>
      told.containers?.some((each) => each.container.uuid === uuid && each.event === event))
  }

  /** What containers broadcast, but their welcome. */
  get heard () {
    return this.events.map((event) => event.broadcast).filter((event) => event && event[1] !== 'welcome')
  }

  async close () {
    clearInterval(this.timer)
    await this.send(['8', '', '', ''])
    await sleep(20)
    this.kill()
  }

  kill () {
    clearInterval(this.timer)
    this.closed = true
    this.socket.close()
  }
}

/** A client of the agent that a reference names. */
export function direct (reference, options) {
  const { host, port } = JSON.parse(reference)
  return new Peer(`${host}:${port}`, options)
}

/** A back request that is never answered. */
export const NOTHING = Symbol('nothing')

const wrap = (body) => (Array.isArray(body) ? { broadcast: body } : body)

/** An agent's own server, where its containers are heard. */
export class Home {
  static async open (address = 'tcp://127.0.0.1:*') {
    const home = new Home()
    await home.socket.bind(address)
    home.address = home.socket.lastEndpoint
    home.port = Number(home.address.split(':').pop())
    home.reading = home.read()
    return home
  }

  constructor () {
    this.socket = new Router({ linger: 0 })
    this.id = randomUUID()
    this.clients = new Map()
    this.connected = new Map()
    this.hellos = 0
  }

  send (route, ...frames) {
    this.sending = (this.sending ?? Promise.resolve()).then(() => this.socket.send([route, ...frames])).catch(() => {})
    return this.sending
  }

  async read () {
    try {
      for await (const [route, ...frames] of this.socket) this.receive(route, frames.map(String))
    } catch (error) {
      if (!this.closed) throw error
    }
  }

  receive (route, [operation, id, body]) {
    const name = route.toString('hex')
    if (operation === '0') {
      this.hellos++
      this.clients.set(name, { route, id })
      return this.send(route, '0', this.id, '')
    }
    if (operation === '5') void this.send(route, '6', this.id, '')
    const client = this.clients.get(name)
    if (client === undefined) {
      return operation === '1' ? this.send(route, '7', id, '1') : this.send(route, '9', this.id, '')
    }
    if (operation === '8') return this.forget(name)
    if (operation !== '1') return
    const [method, params] = JSON.parse(body)
    if (method === 'cc') {
      for (const uuid of [params.uuid].flat()) this.of(uuid).add(name)
      return this.send(route, '2', id, '0')
    }
    assert.equal(method, 'cd')
    this.of(params.uuid).delete(name)
    return this.send(route, '2', id, '"ok"')
  }

  /** Who listens to a container. */
  of (uuid) {
    if (!this.connected.has(uuid)) this.connected.set(uuid, new Set())
    return this.connected.get(uuid)
  }

  forget (name) {
    this.clients.delete(name)
    for (const all of this.connected.values()) all.delete(name)
  }

  /** Tells everybody who listens what a container sends. */
  emit (uuid, data) {
    for (const name of this.of(uuid)) void this.send(this.clients.get(name).route, '4', '', JSON.stringify([uuid, data]))
    return this.of(uuid).size
  }

  close () {
    this.closed = true
    this.socket.close()
  }
}

/** An agent whose containers echo. */
export class Agent {
  constructor (address, agentId, kinds, options = {}) {
    this.agentId = agentId
    this.kinds = kinds
    this.home = options.home
    this.containers = new Map(options.containers ?? [])
    this.stateless = new Set(this.containers.keys())
    this.calls = []
    this.dropped = []
    this.peer = new Peer(address, {
      ...options,
      register: () => this.register(),
      handle: (method, params) => this.handle(method, params)
    })
    this.registered = new Promise((resolve) => { this.isRegistered = resolve })
    // As the original does for its stateless containers.
    const receive = this.peer.receive.bind(this.peer)
    this.peer.receive = async (frames) => {
      await receive(frames)
      if (frames[0] !== '4') return
      const removed = JSON.parse(frames[2]).containers.filter((each) => each.event === 2)
      if (removed.some((each) => this.stateless.has(each.container.uuid))) setTimeout(() => this.register(), 100)
    }
  }

  reference (uuid) {
    return JSON.stringify({ kind: 0, host: '127.0.0.1', port: this.home?.port ?? 1, agentId: this.agentId, uuid })
  }

  async register () {
    const containers = [...this.containers].map(([uuid, kind]) =>
      ({ agentId: this.agentId, uuid, endpoint: this.reference(uuid), kind, lastVisit: Date.now() }))
    const endpoint = JSON.stringify({ host: '127.0.0.1', port: this.home?.port ?? 1, kind: 1, agentId: this.agentId })
    const result = await this.peer.request('ar', { uuid: this.agentId, containers, kinds: this.kinds, endpoint })
    this.dropped = result
    this.isRegistered(result)
  }

  async handle (method, [agentId, args]) {
    this.calls.push([method, args])
    if (agentId !== this.agentId) return { error: `Agent ${agentId} not found` }
    if (method === 'gg') {
      const [kind, request] = args
      if (kind === 'broken') throw new Error('factory failed')
      if (kind === 'stuck') return NOTHING
      const shared = request.uuid === undefined && [...this.containers].find(([, known]) => known === kind)
      const uuid = request.uuid ?? (shared ? shared[0] : randomUUID())
      this.containers.set(uuid, kind)
      return [uuid, this.reference(uuid)]
    }
    if (method === 'ct') {
      this.containers.delete(args[0])
      return ''
    }
    assert.equal(method, 'cs')
    const [uuid, operation, data] = args
    if (!this.containers.has(uuid)) throw new Error('Container not found')
    if (operation === 'who') return this.agentId
    if (operation === 'fail') throw new Error(data.message)
    if (operation === 'slow') { await sleep(data.ms); return data }
    if (operation === 'stuck') return NOTHING
    if (operation === 'nothing') return undefined
    if (operation === 'broadcast') return this.home.emit(uuid, data)
    return data
  }
}

export const refused = async (promise, text) => {
  const error = await promise.then((result) => assert.fail(`it succeeded: ${JSON.stringify(result)}`), (error) => error)
  assert.equal(error.message.split('\n')[0], text)
  assert.equal(typeof error.stack, 'string')
  assert(!error.stack.includes('.rs:'), error.stack)
  return error
}

/** A line to an address that can be cut. */
export async function line (address) {
  const [host, port] = address.split(':')
  const ends = new Set()
  const server = createServer((near) => {
    const far = connect(Number(port), host)
    for (const [one, other] of [[near, far], [far, near]]) {
      ends.add(one)
      one.pipe(other)
      one.on('error', () => {}).on('close', () => { ends.delete(one); other.destroy() })
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `127.0.0.1:${server.address().port}`,
    cut: () => { for (const end of ends) end.resetAndDestroy() },
    close: () => server.close()
  }
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

/** Tells the test something and waits until it goes on. */
export async function tell (line) {
  console.log(line)
  const { value, done } = await lines.next()
  assert(!done, `the test ended at ${line}`)
  return value
}

/** Runs the scenario that the command line names. */
export async function run (scenarios) {
  const [name, address] = process.argv.slice(2)
  try {
    await scenarios[name](address)
    console.log('PASSED')
    process.exit(0)
  } catch (error) {
    console.error(error)
    process.exit(1)
  }
}
