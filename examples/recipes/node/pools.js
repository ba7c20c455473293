'use strict'
const { readFileSync, realpathSync } = require('node:fs')

// readCredentials resolves DIR/..data a single time and reads both files from that
// directory. Reading DIR/username and DIR/password could combine the new user with the
// old password, if a rotation happened in between.
function readCredentials (dir) {
  const generation = realpathSync(`${dir}/..data`)
  const read = name => readFileSync(`${generation}/${name}`, 'utf8')
  return { user: read('username').trim(), password: read('password').replace(/[\r\n]+$/, '') }
}

// sessions returns a set with a promise for each open connection of a pool. A promise
// settles when the socket is closed on both sides; end() settles a few milliseconds earlier.
function sessions (pool) {
  const open = new Set()
  for (const event of ['connect', 'connection']) { // the names in pg and mysql2
    pool.on(event, connection => {
      const socket = connection.stream ?? connection.connection.stream
      const closed = new Promise(resolve => socket.once('close', resolve)).then(() => open.delete(closed))
      open.add(closed)
    })
  }
  return open
}

// Pools provides the newest pool that works. open(credentials) returns a pool of pg or mysql2.
class Pools {
  #draining = new Set()
  #last = Promise.resolve()

  constructor (dir, open) { Object.assign(this, { dir, open }) }

  // use calls work with the current pool, which stays open until the promise of work
  // settles. Before that, work must end its transactions and release its clients.
  async use (work) {
    const mine = this.current
    mine.users++
    try { return await work(mine.pool) } finally { if (--mine.users === 0) mine.idle?.() }
  }

  // reload opens a new pool if the credentials are new, and resolves to whether it did. If
  // the new credentials do not work, it rejects and keeps the old pool. Reloads run in turn.
  reload () { return (this.#last = this.#last.catch(() => {}).then(() => this.#reload())) }

  async #reload () {
    const credentials = readCredentials(this.dir)
    const old = this.current
    if (old && old.user === credentials.user && old.password === credentials.password) return false
    const pool = this.open(credentials)
    const open = sessions(pool)
    try { await pool.query('SELECT 1') } catch (err) { await pool.end(); throw err }
    this.current = { ...credentials, pool, open, users: 0 }
    if (old) this.#drain(old)
    return true
  }

  // end() fails users that wait for a connection, and closes a connection between two
  // queries of a transaction. So #drain calls it after the last user.
  #drain (old) {
    const idle = old.users === 0 ? Promise.resolve() : new Promise(resolve => { old.idle = resolve })
    const gone = idle.then(() => old.pool.end()).catch(() => {}) // a connection was already broken
      .then(() => Promise.all(old.open)).then(() => this.#draining.delete(gone))
    this.#draining.add(gone)
  }

  // drained resolves when all connections with old credentials are closed.
  drained () { return Promise.all(this.#draining) }

  // reloadUntilDone retries until a reload succeeds. Use it for SIGHUP, because the sidecar
  // does not learn of a failure.
  async reloadUntilDone (log) {
    for (;;) {
      try { return await this.reload() } catch (err) { log(err) }
      await new Promise(resolve => setTimeout(resolve, 1000))
    }
  }
}

module.exports = { Pools, readCredentials }
