'use strict'
const { readFileSync, realpathSync } = require('node:fs')

// readCredentials follows DIR/..data once and reads both files below what it points
// to: read by DIR/username and DIR/password, a rotation in between gives the new user
// with the old password.
function readCredentials (dir) {
  const generation = realpathSync(`${dir}/..data`)
  const read = name => readFileSync(`${generation}/${name}`, 'utf8')
  return { user: read('username').trim(), password: read('password').replace(/[\r\n]+$/, '') }
}

// sessions is the set of promises of a pool's connections, each until its socket is
// closed on both sides. end() of pg and of mysql2 settles some milliseconds earlier.
function sessions (pool) {
  const open = new Set()
  for (const event of ['connect', 'connection']) { // as pg and as mysql2 call it
    pool.on(event, connection => {
      const socket = connection.stream ?? connection.connection.stream
      const closed = new Promise(resolve => socket.once('close', resolve)).then(() => open.delete(closed))
      open.add(closed)
    })
  }
  return open
}

// Pools hands out the newest pool that works. open(credentials) makes one of pg or mysql2.
class Pools {
  #draining = new Set()
  #last = Promise.resolve()

  constructor (dir, open) { Object.assign(this, { dir, open }) }

  // use calls work with the present pool, which stays open until work's promise
  // settles. Transactions end in it, and clients are released in it.
  async use (work) {
    const mine = this.current
    mine.users++
    try { return await work(mine.pool) } finally { if (--mine.users === 0) mine.idle?.() }
  }

  // reload changes to new connections if the credentials are new and work, and
  // rejects and changes nothing if they do not. One reload runs at a time.
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

  // end() fails those that still wait for a connection, and closes one between two
  // queries of a transaction: so it comes after the last user.
  #drain (old) {
    const idle = old.users === 0 ? Promise.resolve() : new Promise(resolve => { old.idle = resolve })
    const gone = idle.then(() => old.pool.end()).catch(() => {}) // of a connection that broke
      .then(() => Promise.all(old.open)).then(() => this.#draining.delete(gone))
    this.#draining.add(gone)
  }

  // drained settles once no connection of former credentials is left.
  drained () { return Promise.all(this.#draining) }

  // reloadUntilDone is for SIGHUP, which has no answer that would bring it again.
  async reloadUntilDone (log) {
    for (;;) {
      try { return await this.reload() } catch (err) { log(err) }
      await new Promise(resolve => setTimeout(resolve, 1000))
    }
  }
}

module.exports = { Pools, readCredentials }
