'use strict'
const mysql = require('mysql2/promise')

// mariadb gives what Pools opens. mysql2 takes no function for the password.
exports.mariadb = (url, options) => ({ user, password }) => mysql.createPool({
  ...options,
  host: url.hostname,
  port: url.port || 3306,
  database: url.pathname.slice(1),
  user,
  password
})
