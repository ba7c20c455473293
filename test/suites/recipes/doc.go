// Package recipes tests the recipes below examples/recipes, and examples/app. Each app
// rotates next to the real sidecar, a real API server and a real MariaDB,
// PostgreSQL or Redis, under load.
//
// # A test
//
//  1. The test starts the database, the sidecar and the app. Then it starts a load that
//     lasts until the end of the test: some clients request /query, others /transaction.
//  2. It rotates 20 times with an overlap, each time with a new user. It creates the user
//     and updates the Secret. As soon as the app reports its reload, the test drops the old
//     user. Within a second, the database must list no session of an old user. No query may
//     fail, and the database must contain each confirmed transaction exactly once.
//  3. It rotates without an overlap: five times it changes the password in place, and five
//     times it drops the old user and kills its sessions, before it updates the Secret. The
//     test counts and prints the failures. The app must recover by itself.
//
// # An app
//
// The app is a child process of the test. Its environment is the same as in examples/app:
//
//	APP_DATABASE     mysql://HOST:PORT/app, postgres://HOST:PORT/app or redis://HOST:PORT,
//	                 without a user
//	APP_CREDENTIALS  the directory of the Secret, with username, password and ..data
//	APP_ADDR         HOST:PORT to listen on, only once the app can reload
//
// It answers these requests with 200, or with 500 after a failure. Each request uses a new
// connection. No client retries, unless recipe.retries is set.
//
//	GET /query        SELECT COUNT(*) FROM secretsync_items
//	GET /transaction  BEGIN; INSERT INTO secretsync_done VALUES (1); 100 ms without a
//	                  statement; SELECT COUNT(*) FROM secretsync_items; COMMIT
//
// With Redis, a query is GET secretsync_items. A transaction is WATCH secretsync_items; 100 ms
// without a command; MULTI; INCR secretsync_done; GET secretsync_items; EXEC.
//
// The app reports its reload once it uses only the new credentials and has closed all
// older connections:
//
//   - With a webhook, it then answers POST /-/reload (or recipe.reload) with a
//     2xx status.
//   - With a signal, it then writes the line "reloaded as USER" to its output. With several
//     workers (recipe.workers), each worker writes this line, and earlier the line "ready"
//     once it can reload.
//   - For any other program, recipe.reloaded finds out.
//
// Each test calls run with a recipe. The sidecar finds the app by a PID file of the
// test, because other programs with the same name may run on the machine. A missing
// program fails the test.
package recipes
