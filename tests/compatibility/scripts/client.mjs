// A client of the original network and containers in WebAssembly.
import assert from 'node:assert/strict'
import { Dealer } from 'zeromq'
import { Peer, direct as there, eventually, line, refused, run, sleep, tell } from './peer.mjs'

async function direct (coordinator, uuid, options = { id: coordinator.id }) {
  const [, reference] = await coordinator.get('echo', { uuid })
  return there(reference, options)
}

await run({
  async calls (address) {
    const client = new Peer(address)
    assert.deepEqual(await client.request('ak', {}), ['echo'])
    const [agent] = await client.agents()
    assert.deepEqual(Object.keys(agent), ['agentId', 'endpoint', 'kinds', 'containers'])
    const endpoint = JSON.parse(agent.endpoint)
    assert.deepEqual(Object.keys(endpoint), ['host', 'port', 'kind', 'agentId'])
    assert.equal(endpoint.kind, 1)

    const [uuid, reference] = await client.get('echo', { uuid: 'first' })
    assert.equal(uuid, 'first')
    assert.deepEqual(JSON.parse(reference), { kind: 0, host: '127.0.0.1', port: endpoint.port, agentId: agent.agentId, uuid })
    // A get by uuid ignores the kind; null counts as absent.
    assert.deepEqual(await client.get('other', { uuid: 'first', labels: null }), [uuid, reference])
    await client.get('echo', { uuid: 'second', labels: ['l1', 'l2'], extra: { x: 1.5 } })
    const shared = await client.get('echo', {})
    assert.deepEqual(await client.get('echo', { uuid: null }), shared)
    assert.deepEqual(await client.get('echo', { labels: ['l1'] }), ['second', reference.replaceAll('first', 'second')])
    await refused(client.get('nokind', { uuid: 'z' }), 'No suitable agents found for container nokind')

    const records = await client.list('echo')
    assert.deepEqual(records.map((record) => record.uuid), ['first', 'second', shared[0]])
    assert.deepEqual(Object.keys(records[0]), ['uuid', 'agentId', 'kind', 'lastVisit', 'endpoint', 'labels', 'extra'])
    assert.deepEqual([records[0].labels, records[0].extra], [null, null])
    assert.deepEqual([records[1].labels, records[1].extra], [['l1', 'l2'], { x: 1.5 }])
    assert.equal(records[0].endpoint, reference)
    assert.deepEqual(await client.list('nope'), [])
    // When they were seen last may have changed meanwhile, to a later time.
    const unchanging = (records) => records.map(({ lastVisit, ...rest }) => rest)
    const again = await client.list(null)
    assert.deepEqual(unchanging(again), unchanging(records))
    again.forEach((record, place) => assert.ok(record.lastVisit >= records[place].lastVisit))
    assert.equal((await client.agents())[0].containers, 3)

    const text = 'ünïcode ☃ "quoted" \n newline'
    for (const data of [{ hello: 'world' }, null, 42, text, [1, [2]]]) {
      assert.deepEqual(await client.cs('first', 'echo', data), data)
    }
    assert.equal(await client.cs('first', 'add', [2]), 2)
    assert.deepEqual(await client.cs('first', 'stream', { count: 3, size: 2 }), ['xx', 'xx', 'xx'])
    await refused(client.cs('first', 'fail', ['boom']), 'boom')
    await refused(client.cs('missing', 'echo', 1), 'Container missing not found')
    await refused(client.request('zz', {}), 'Unknown methodzz')
    assert.equal(await client.request('cr', { uuid: 'unknown' }), 'ok')
    assert.equal(await client.request('au', { uuid: 'unknown' }), 'ok')

    assert.equal(await client.request('cr', { uuid: 'first' }), 'ok')
    const gone = await eventually('the end of what nobody holds', () => client.told('first', 2))
    assert.equal(gone.containers.find((each) => each.event === 2).container.endpoint, reference)
    assert.deepEqual((await client.list('echo')).map((record) => record.uuid), ['second', shared[0]])
    await client.close()
  },

  async direct (address) {
    const client = new Peer(address)
    const agent = await direct(client, 'd-1')
    assert.equal(await agent.request('cc', { uuid: 'd-1' }), 0)
    assert.equal(await agent.request('cc', { uuid: ['d-1', 'missing'] }), 0)
    assert.deepEqual(await agent.cs('d-1', 'echo', { hello: 'world' }), { hello: 'world' })
    await agent.cs('d-1', 'broadcast', { evt: 1 })
    await eventually('the broadcast', () => agent.heard.length === 1)
    assert.deepEqual(agent.heard, [['d-1', { evt: 1 }]])
    // Also when somebody else asks for it, through the coordinator.
    await client.cs('d-1', 'broadcast', [2])
    await eventually('the second broadcast', () => agent.heard.length === 2)
    assert.equal(await agent.request('cd', { uuid: 'd-1' }), 'ok')
    await agent.cs('d-1', 'broadcast', [3])
    assert.equal(await agent.cs('d-1', 'add', [1]), 1)
    assert.equal(agent.heard.length, 2)
    // One that never pings goes on hearing what it listens to.
    const quiet = await direct(client, 'd-1', { pings: false, aliveTimeout: 0.2 })
    await quiet.request('cc', { uuid: 'd-1' })
    await sleep(1000)
    await client.cs('d-1', 'broadcast', [4])
    await eventually('the third broadcast', () => quiet.heard.length === 1)
    assert.equal(agent.heard.length, 2)
    await quiet.close()
    await refused(agent.request('cd', { uuid: 'nowhere' }), 'Container not found')
    await refused(agent.cs('nowhere', 'echo', 1), 'Container not found')
    await refused(agent.request('zz', {}), 'Unknown methodzz')
    await refused(agent.cs('d-1', 'fail', ['direct boom']), 'direct boom')
    assert.notEqual(agent.server, client.server)
    await agent.close()
    await client.close()
  },

  async events (address) {
    const client = new Peer(address)
    const other = new Peer(address)
    await other.agents()
    const delays = []
    for (let n = 0; n < 20; n++) {
      await client.get('echo', { uuid: `e-${n}` })
      const at = Date.now()
      const told = await eventually('the event', () => other.told(`e-${n}`, 0))
      delays.push(told.at - at)
    }
    // The machine may stand still at times; the coordinator does not.
    delays.sort((a, b) => a - b)
    assert(delays[10] <= 20, `half of the events took longer than 20 ms: ${delays}`)
    await Promise.all([client.close(), other.close()])
  },

  async retry (address) {
    const client = new Peer(address)
    const helper = new Peer(address)
    await client.get('echo', { uuid: 'r' })
    const waits = Array.from({ length: 30 }, () => client.cs('r', 'wait'))
    await eventually('the refusals', () => client.retries.length >= 4)
    assert(client.retries.every(([, ticks]) => ticks === 26), JSON.stringify(client.retries))
    assert.equal(new Set(client.retries.map(([id]) => id)).size, 4)
    let done = false
    const all = Promise.all(waits).then(() => { done = true })
    await eventually('the answers', async () => { await helper.cs('r', 'wake'); return done })
    await all
    await Promise.all([client.close(), helper.close()])
  },

  async silence (address) {
    const helper = new Peer(address)
    await helper.get('echo', { uuid: 's' })
    const client = new Peer(address, { pings: false, aliveTimeout: 0.3 })
    await client.get('echo', { uuid: 's' })
    const before = client.asked
    await sleep(1000)
    // Not sent away: answered, and asked for hello.
    assert.deepEqual(await client.cs('s', 'echo', 1), 1)
    await eventually('the question for hello', () => client.asked > before)
    assert.deepEqual(client.retries, [])
    // Who waits for an answer is not silent.
    const asked = client.asked
    const waiting = client.cs('s', 'wait')
    await sleep(1000)
    await helper.cs('s', 'wake')
    await waiting
    assert.equal(client.asked, asked)
    await sleep(1000)
    assert.deepEqual(await client.cs('s', 'echo', 2), 2)
    assert.deepEqual(client.retries, [])
    await eventually('the answers to hello', () => client.greeted === client.asked + 1)
    await Promise.all([client.close(), helper.close()])
  },

  async slow (address) {
    const client = new Peer(address)
    await client.get('echo', { uuid: 'slow' })
    const reader = new Peer(address, { reads: false, pings: false, aliveTimeout: 60, socket: { receiveHighWaterMark: 1 } })
    // It reads the answer to hello, and then nothing for a while.
    await reader.receive((await reader.socket.receive()).map(String))
    const data = 'x'.repeat(1 << 20)
    const answers = Array.from({ length: 26 }, (_, n) => reader.cs('slow', 'echo', [n, data]))
    await sleep(3000)
    // Others are not slowed down by it.
    assert.equal(await client.cs('slow', 'echo', 1), 1)
    void reader.read()
    const got = await Promise.all(answers)
    assert.deepEqual(got.map(([n]) => n), Array.from({ length: 26 }, (_, n) => n))
    await Promise.all([client.close(), reader.close()])
  },

  // What its socket keeps while nobody is there is sent before hello.
  async queued (address) {
    const client = new Peer(address, { register: (peer) => peer.held?.() })
    await client.get('echo', { uuid: 'q' })
    client.held = () => client.get('echo', { uuid: 'q' })
    const server = client.server
    await tell('STOP')
    const data = 'x'.repeat(200_000)
    const large = Array.from({ length: 20 }, (_, n) => client.cs('q', 'echo', [n, data]))
    const small = Array.from({ length: 300 }, (_, n) => client.cs('q', 'echo', [n]))
    await tell('START')
    assert.deepEqual(await Promise.all(large), Array.from({ length: 20 }, (_, n) => [n, data]))
    assert.deepEqual(await Promise.all(small), Array.from({ length: 300 }, (_, n) => [n]))
    assert.notEqual(client.server, server)
    // Nobody closed its connection.
    assert.equal(client.connects, 2)
    await client.close()
  },

  async malformed (address) {
    const client = new Peer(address)
    await client.agents()
    for (const frames of [['junk'], [''], ['99', 'x', 'y'], ['4', '', '{}', ''], ['2', 'nosuch', '1'], ['1', 'x'.repeat(1 << 20), '[]'], ['1', Buffer.from([0xff]), '[]'], ['0', '', '{}'], ['7', 'a', '1']]) {
      await client.send(frames)
    }
    for (const body of ['not json', '{}', '[]', 'null', '["ar",{}]', '["cs",null]', '["gg",{}]', '["gg",{"kind":7}]', '['.repeat(1_000_000), '["ak"', '"ak"']) {
      const error = await client.raw(body).then(() => assert.fail(`it succeeded: ${body.slice(0, 20)}`), (error) => error)
      assert(error.message.length > 0 && error.message.length < 1000, error.message)
    }
    assert.deepEqual(await client.request('ak', {}), ['echo'])
    await client.close()
  },

  // A socket that knows nothing of the protocol's good manners.
  async bare (address) {
    const socket = new Dealer({ linger: 0 })
    socket.connect(`tcp://${address}`)
    const next = async () => (await socket.receive()).map(String)
    await socket.send(['1', 'raw-0', '["ak",{}]'])
    assert.deepEqual(await next(), ['7', 'raw-0', '1'])
    const [ask, server, nothing] = await next()
    assert.deepEqual([ask, nothing], ['9', ''])
    await socket.send(['5', '', '', ''])
    assert.deepEqual(await next(), ['6', server, ''])
    assert.deepEqual(await next(), ['9', server, ''])
    await socket.send(['0', 'raw-client', 'not json', ''])
    assert.deepEqual(await next(), ['0', server, ''])
    await socket.send(['1', 'raw-0', '["ak",{}]'])
    assert.deepEqual(await next(), ['2', 'raw-0', '["echo"]'])
    // Clients need not send the fourth frame.
    await socket.send(['5', '', ''])
    assert.deepEqual(await next(), ['6', server, ''])
    await socket.send(['8', '', '', ''])
    await socket.send(['5', '', '', ''])
    assert.deepEqual(await next(), ['6', server, ''])
    assert.deepEqual(await next(), ['9', server, ''])
    socket.close()
  },

  // Its socket connects again by itself after a reset.
  async reconnect (address) {
    const way = await line(address)
    const client = new Peer(way.address, { pings: false, aliveTimeout: 10 })
    const helper = new Peer(address)
    await client.get('echo', { uuid: 'm' })
    const waiting = client.cs('m', 'wait')
    await eventually('the request', async () => await helper.cs('m', 'echo', 1) === 1)
    way.cut()
    await eventually('the question for hello', () => client.asked === 1 && client.greeted === 3)
    // It has sent the request again, which went on all the while.
    let done = false
    void waiting.then(() => { done = true })
    await eventually('the answer', async () => { await helper.cs('m', 'wake'); return done })
    // So did its references.
    await sleep(2000)
    assert.equal((await helper.list('echo')).length, 1)
    await Promise.all([client.close(), helper.close()])
    way.close()
  },

  // Its container lives elsewhere when the agent is gone.
  async follows (address) {
    const client = new Peer(address)
    const [, reference] = await client.get('echo', { uuid: 'f' })
    const before = await direct(client, 'f')
    await before.request('cc', { uuid: 'f' })
    await tell(JSON.parse(reference).agentId)
    const told = await eventually('the update', () => client.told('f', 1))
    const { endpoint } = told.containers.find((each) => each.event === 1).container
    assert.notEqual(endpoint, reference)
    assert.equal(client.told('f', 2), undefined)
    const after = there(endpoint, { id: client.id })
    await after.request('cc', { uuid: 'f' })
    assert.deepEqual(await after.cs('f', 'echo', 1), 1)
    await client.cs('f', 'broadcast', [2])
    await eventually('the broadcast', () => after.heard.length === 1)
    before.kill()
    await Promise.all([after.close(), client.close()])
  }
})
