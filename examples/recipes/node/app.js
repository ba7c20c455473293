'use strict'
// The app around the recipe in its tests. Copy pools.js, and pg.js or mysql2.js.
let notified = () => {} // main sets it; the first pool reads the newest files anyway
// Before anything else: until a program has a handler, SIGHUP kills it.
process.on('SIGHUP', () => notified())

const http = require('node:http')
const { setTimeout: sleep } = require('node:timers/promises')
const { Pools } = require('./pools.js')
const { postgres } = require('./pg.js')
const { mariadb } = require('./mysql2.js')

const url = new URL(process.env.APP_DATABASE)
const dir = process.env.APP_CREDENTIALS
const isPostgres = url.protocol.startsWith('postgres')
const pools = new Pools(dir, isPostgres ? postgres(url, dir) : mariadb(url))

async function reload (by, how) {
  console.log('reload requested by', by)
  if (await how()) console.log('new pool as', pools.current.user)
  const { user } = pools.current
  await pools.drained()
  console.log('reloaded as', user)
}
const failed = err => console.log('reload failed, keeping the old connections:', err.message)

const count = 'SELECT COUNT(*) FROM secretsync_items'
const query = () => pools.use(pool => pool.query(count))
const transaction = () => pools.use(async pool => {
  const client = await (isPostgres ? pool.connect() : pool.getConnection())
  try {
    await client.query('BEGIN')
    await client.query('INSERT INTO secretsync_done VALUES (1)')
    await sleep(100)
    await client.query(count)
    await client.query('COMMIT')
  } catch (err) {
    isPostgres ? client.release(err) : client.destroy() // the transaction is open, so do not reuse the connection
    throw err
  }
  client.release()
})

const routes = {
  'GET /query': query,
  'GET /transaction': transaction,
  'GET /status': () => ({ user: pools.current.user }),
  // Answers after the reload. The sidecar retries after any status other than 2xx.
  'POST /-/reload': () => reload('webhook', () => pools.reload())
}

async function answer (request, response) {
  try {
    const answer = await routes[`${request.method} ${request.url}`]()
    response.end(JSON.stringify(answer))
  } catch (err) {
    console.log(request.url, 'failed:', err.message)
    response.writeHead(500).end(err.message)
  }
}

async function main () {
  await pools.reload()
  notified = () => reload('SIGHUP', () => pools.reloadUntilDone(failed))
  const [host, port] = process.env.APP_ADDR.split(':')
  const server = http.createServer(answer).listen(port, host)
  process.on('SIGTERM', () => server.close(() => process.exit(0)))
}
main().catch(err => { console.log(err.message); process.exit(1) })
