'use strict'
const { Pool } = require('pg')
const { readCredentials } = require('./pools.js')

// postgres returns the open function for Pools. The password is a function, which pg calls
// for every new connection. If only the password changes, a connection that opens before
// the notification already uses the new password.
exports.postgres = (url, dir, options) => ({ user, password }) => {
  const pool = new Pool({
    connectionTimeoutMillis: 10000, // the default of mysql2; without it, a hung server blocks all later reloads
    ...options, // without a connectionString, which would override the lines below
    host: url.hostname,
    port: url.port || 5432,
    database: url.pathname.slice(1),
    user,
    password: () => {
      const now = readCredentials(dir)
      return now.user === user ? now.password : password
    }
  })
  // Without these listeners, the program ends when the server closes a connection: the
  // first covers idle connections, the second covers connections in use.
  const lost = err => console.error('connection lost:', err.message)
  pool.on('error', lost).on('connect', client => client.on('error', lost))
  return pool
}
