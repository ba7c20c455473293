'use strict'
const mysql = require('mysql2/promise')

// mariadb returns the open function for Pools. mysql2 does not accept a function for
// the password.
exports.mariadb = (url, options) => ({ user, password }) => mysql.createPool({
  ...options,
  host: url.hostname,
  port: url.port || 3306,
  database: url.pathname.slice(1),
  user,
  password
})
