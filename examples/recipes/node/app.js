'use strict'
// The app around the recipe: what its test asks it. Copy pools.js and pg.js or mysql2.js.
let notified = () => {} // until the pools are there; they read the newest files themselves
// First of all: before a program asks for it, SIGHUP ends it.
process.on('SIGHUP', () => notified())

const http = require('node:http')
const { setTimeout: sleep } = require('node:timers/promises')
const { Pools } = require('./pools.js')
const { postgres } = require('./pg.js')
const { mariadb } = require('./mysql2.js')

const log = (msg, more) => console.log(JSON.stringify({ time: new Date(), msg, ...more }))
const url = new URL(process.env.APP_DATABASE)
const dir = process.env.APP_CREDENTIALS
const isPostgres = url.protocol.startsWith('postgres')
const pools = new Pools(dir, isPostgres ? postgres(url, dir) : mariadb(url))

async function reload (by, how) {
  log('reload requested', { by })
  if (await how()) log('new pool', { user: pools.current.user })
  await pools.drained()
  log('reloaded', { by, user: pools.current.user })
}
const failed = err => log('reload failed, the old connections stay', { err: err.message })

const count = 'SELECT COUNT(*) FROM secretsync_items'
const query = () => pools.use(pool => pool.query(count))
const transaction = () => pools.use(async pool => {
  const client = await (isPostgres ? pool.connect() : pool.getConnection())
  try {
    await client.query('BEGIN')
    await client.query(count)
    await sleep(100)
    await client.query(count)
    await client.query('COMMIT')
  } finally { client.release() }
})

const routes = {
  'GET /query': query,
  'GET /transaction': transaction,
  'GET /status': () => ({ user: pools.current.user }),
  // 2xx only when it is done: else the sidecar asks again.
  'POST /-/reload': () => reload('webhook', () => pools.reload())
}

async function main () {
  await pools.reload()
  log('connected', { user: pools.current.user })
  notified = () => reload('SIGHUP', () => pools.reloadUntilDone(failed))
  const server = http.createServer(async (request, response) => {
    try {
      const answer = await routes[`${request.method} ${request.url}`]()
      response.end(JSON.stringify(answer) ?? '')
    } catch (err) {
      log('request failed', { url: request.url, err: err.message })
      response.writeHead(500).end('failed')
    }
  })
  const [host, port] = process.env.APP_ADDR.split(':')
  server.listen(port, host)
  process.on('SIGTERM', () => server.close(() => process.exit(0)))
}
main().catch(err => { log('app ends', { err: err.message }); process.exit(1) })
