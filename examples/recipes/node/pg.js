'use strict'
const { Pool } = require('pg')
const { readCredentials } = require('./pools.js')

// postgres gives what Pools opens. The password is a function, which pg calls for every
// new connection: when only the password changes, a connection that opens before the
// app was notified has the new one.
exports.postgres = (url, dir, options) => ({ user, password }) => {
  const pool = new Pool({
    connectionTimeoutMillis: 10000, // as mysql2's; without one, a hung server holds up every later reload
    ...options, // not a connectionString, which would win over what follows
    host: url.hostname,
    port: url.port || 5432,
    database: url.pathname.slice(1),
    user,
    password: () => {
      const now = readCredentials(dir)
      return now.user === user ? now.password : password
    }
  })
  // Without both, a connection that the server closes ends the program: while it is
  // idle, and while a transaction has it.
  const lost = err => console.error('connection lost:', err.message)
  pool.on('error', lost).on('connect', client => client.on('error', lost))
  return pool
}
