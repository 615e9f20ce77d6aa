// Agents of the original network under a hulynet coordinator.
import assert from 'node:assert/strict'
import { Agent, Home, Peer, direct, eventually, refused, run, sleep, tell } from './peer.mjs'

await run({
  async serves (address) {
    const agent = new Agent(address, 'agent-A', ['ts', 'broken'])
    assert.deepEqual(await agent.registered, [])
    const client = new Peer(address)
    assert.deepEqual(await client.request('ak', {}), ['echo', 'ts', 'broken'])
    const record = (await client.agents()).find((each) => each.agentId === 'agent-A')
    assert.deepEqual(record, {
      agentId: 'agent-A',
      endpoint: '{"host":"127.0.0.1","port":1,"kind":1,"agentId":"agent-A"}',
      kinds: ['ts', 'broken'],
      containers: 0
    })
    assert.deepEqual(await client.get('ts', { uuid: 'c-1' }), ['c-1', agent.reference('c-1')])
    await client.get('ts', { uuid: 'c-2', labels: ['l1', 'l2'], extra: { x: 1 } })
    assert.deepEqual(agent.calls, [
      ['gg', ['ts', { uuid: 'c-1' }]],
      ['gg', ['ts', { uuid: 'c-2', labels: ['l1', 'l2'], extra: { x: 1 } }]]
    ])
    // Without a uuid the agent gives what it has, and the client holds it.
    assert.deepEqual(await client.get('ts', {}), ['c-1', agent.reference('c-1')])
    assert.deepEqual(agent.calls[2], ['gg', ['ts', {}]])
    assert.equal((await client.agents()).find((each) => each.agentId === 'agent-A').containers, 2)
    const records = await client.list('ts')
    assert.deepEqual(records.map(({ uuid, endpoint, labels, extra }) => [uuid, endpoint, labels, extra]), [
      ['c-1', agent.reference('c-1'), null, null],
      ['c-2', agent.reference('c-2'), ['l1', 'l2'], { x: 1 }]
    ])

    for (const data of [{ hello: 'world' }, null, 42, { a: null, b: [null, 1] }]) {
      assert.deepEqual(await client.cs('c-1', 'echo', data), data)
    }
    assert.equal(await client.cs('c-1', 'nothing', 1), null)
    await refused(client.cs('c-1', 'fail', { message: 'boom' }), 'boom')
    await refused(client.get('broken', { uuid: 'z' }), 'Failed to get endpoint for container broken: factory failed')
    // A failure is not remembered as an answer to the next get.
    await refused(client.get('broken', { uuid: 'z' }), 'Failed to get endpoint for container broken: factory failed')

    await client.request('cr', { uuid: 'c-1' })
    await eventually('the end of what nobody holds', () => agent.calls.some(([method, [uuid]]) => method === 'ct' && uuid === 'c-1'))
    await eventually('the event', () => client.told('c-1', 2))
    await agent.peer.request('au', { uuid: 'agent-A' })
    await eventually('the end of the agent', () => client.events.some((event) => event.agents?.some((each) => each.id === 'agent-A' && each.event === 2)))
    assert.deepEqual(await client.request('ak', {}), ['echo'])
    await Promise.all([agent.peer.close(), client.close()])
  },

  async mixed (address) {
    const home = await Home.open()
    const agent = new Agent(address, 'agent-A', ['echo'], { home })
    await agent.registered
    const client = new Peer(address)
    const references = []
    for (let n = 0; n < 6; n++) references.push((await client.get('echo', { uuid: `m-${n}` }))[1])
    const on = (await client.list('echo')).map((record) => record.agentId === 'agent-A')
    assert.equal(on.filter(Boolean).length, 3, JSON.stringify(on))
    assert(on.every((ours, n) => n === 0 || ours !== on[n - 1]), `not in turn: ${on}`)
    for (let n = 0; n < 6; n++) assert.deepEqual(await client.cs(`m-${n}`, 'echo', { n }), { n })
    const ears = references.map((reference) => direct(reference))
    for (let n = 0; n < 6; n++) assert.equal(await ears[n].request('cc', { uuid: `m-${n}` }), 0)
    for (let n = 0; n < 6; n++) await client.cs(`m-${n}`, 'broadcast', { from: 'typescript', n })
    for (let n = 0; n < 6; n++) {
      await eventually('the broadcast', () => ears[n].heard.length === 1)
      assert.deepEqual(ears[n].heard, [[`m-${n}`, { from: 'typescript', n }]])
    }
    // Native clients connect, ask, and have the containers broadcast.
    await tell('READY')
    for (let n = 0; n < 6; n++) {
      await eventually('the native broadcast', () => ears[n].heard.length === 2)
      assert.deepEqual(ears[n].heard[1], [`m-${n}`, { from: 'native', n }])
    }
    await Promise.all([agent.peer.close(), client.close(), ...ears.map((ear) => ear.close())])
    home.close()
  },

  async loss (address) {
    const [one, two] = [new Agent(address, 'one', ['ts']), new Agent(address, 'two', ['ts'])]
    await Promise.all([one.registered, two.registered])
    const client = new Peer(address)
    await client.get('ts', { uuid: 'l' })
    const owner = await client.cs('l', 'who')
    const [lost, left] = owner === 'one' ? [one, two] : [two, one]
    const stuck = client.cs('l', 'stuck')
    stuck.catch(() => {})
    await eventually('the request', () => lost.calls.some(([, args]) => args[1] === 'stuck'))
    lost.peer.kill()
    const error = await stuck.then(() => assert.fail('a dead agent answered'), (error) => error)
    assert(error.message.includes('lost'), error.message)
    const told = await eventually('the update', () => client.told('l', 1))
    const { container } = told.containers.find((each) => each.event === 1)
    assert.deepEqual([container.agentId, container.endpoint], [left.agentId, left.reference('l')])
    assert.equal(client.told('l', 2), undefined)
    assert.equal(await client.cs('l', 'who'), left.agentId)
    await Promise.all([left.peer.close(), client.close()])
  },

  async stuck (address) {
    const agent = new Agent(address, 'agent-A', ['stuck'])
    await agent.registered
    const client = new Peer(address)
    const start = client.get('stuck', { uuid: 'x' })
    start.catch(() => {})
    await eventually('the order', () => agent.calls.length === 1)
    agent.peer.kill()
    await start.then(() => assert.fail('a dead agent started it'), (error) => assert(error.message.length > 0))
    await client.close()
  },

  async singletons (address) {
    const singleton = { containers: [['shared', 'ha']] }
    const one = new Agent(address, 'one', ['ha'], singleton)
    assert.deepEqual(await one.registered, [])
    const two = new Agent(address, 'two', ['ha'], singleton)
    // The first agent wins.
    assert.deepEqual(await two.registered, ['shared'])
    const client = new Peer(address)
    assert.deepEqual(await client.get('ha', { uuid: 'shared' }), ['shared', one.reference('shared')])
    assert.equal(await client.cs('shared', 'who'), 'one')
    const [record] = await client.list('ha')
    assert.deepEqual(Object.keys(record), ['agentId', 'uuid', 'endpoint', 'kind', 'lastVisit'])
    // Nobody has to hold it.
    await client.request('cr', { uuid: 'shared' })
    await sleep(2500)
    assert.equal((await client.list('ha')).length, 1)
    assert(!one.calls.some(([method]) => method === 'ct'))
    one.peer.kill()
    await eventually('the other takes over', () => client.cs('shared', 'who').then((who) => who === 'two', () => false))
    const moved = await eventually('the update', () => client.told('shared', 1))
    assert.equal(moved.containers.find((each) => each.event === 1).container.endpoint, two.reference('shared'))
    await Promise.all([two.peer.close(), client.close()])
  },

  async restart (address) {
    const agent = new Agent(address, 'agent-A', ['ts'])
    await agent.registered
    const client = new Peer(address, { register: (peer) => peer.held?.() })
    await client.get('ts', { uuid: 'c-1' })
    await client.get('ts', { uuid: 'c-2' })
    const server = client.server
    client.held = () => client.get('ts', { uuid: 'c-1' })
    const waiting = client.cs('c-1', 'slow', { ms: 1000 })
    await eventually('the request', () => agent.calls.some(([, args]) => args[1] === 'slow'))
    await tell('RESTART')
    // What waits over the restart is answered by the new one.
    assert.deepEqual(await waiting, { ms: 1000 })
    assert.deepEqual(await client.cs('c-1', 'echo', 'after'), 'after')
    assert.notEqual(client.server, server)
    assert.deepEqual((await client.list('ts')).map((record) => record.uuid), ['c-1', 'c-2'])
    // The containers were brought back, not started again.
    assert.equal(agent.calls.filter(([method]) => method === 'gg').length, 2)
    // What nobody claims ends like any other.
    await eventually('the end of the other', () => agent.calls.some(([method, [uuid]]) => method === 'ct' && uuid === 'c-2'))
    assert(!agent.calls.some(([method, [uuid]]) => method === 'ct' && uuid === 'c-1'))
    await Promise.all([agent.peer.close(), client.close()])
  },

  async natively (address) {
    const agent = new Agent(address, 'agent-A', ['ts'])
    await agent.registered
    await tell('READY')
    assert(agent.calls.some(([method, args]) => method === 'cs' && args[1] === 'echo'))
    await agent.peer.close()
  },

  // Native clients hear its containers.
  async heard (address) {
    let home = await Home.open()
    const agent = new Agent(address, 'agent-A', ['ts'], { home })
    await agent.registered
    await tell('READY')
    // Who connected for the client is one who pings, as every client does.
    assert.equal(home.hellos, 1)
    const { address: where } = home
    home.close()
    home = await eventually('the address', () => Home.open(where).catch(() => null))
    agent.home = home
    await tell('RESTARTED')
    assert.equal(home.of('h').size, 1)
    await tell('LEFT')
    await eventually('the goodbye', () => home.clients.size === 0)
    await agent.peer.close()
    home.close()
  },

  // A native client follows its container to another agent.
  async heardAfterLoss (address) {
    const agents = []
    for (const name of ['one', 'two']) {
      const agent = new Agent(address, name, ['ts'], { home: await Home.open() })
      await agent.registered
      agents.push(agent)
    }
    await tell('READY')
    const lost = agents.find((agent) => agent.containers.has('h'))
    lost.peer.kill()
    lost.home.close()
    await tell('LOST')
    const left = agents.find((agent) => agent !== lost)
    assert.equal(left.home.of('h').size, 1)
    await left.peer.close()
    left.home.close()
  }
})
