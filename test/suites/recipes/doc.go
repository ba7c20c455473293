// Package recipes has tests only: each recipe below examples/recipes, and
// examples/app, rotates beside the real sidecar, a real API server and a real MariaDB
// or PostgreSQL, under load.
//
// # What a test does
//
//  1. The database, the sidecar and the app start. Then a load starts that ends with
//     the test: clients ask /query, others /transaction.
//  2. 20 rotations with an overlap, each with a new user: the user is made, the Secret
//     changed, and as soon as the app says that it has reloaded, the old user is
//     dropped. Within a second the database's list of sessions has none of an old user,
//     and the load goes on. No query may fail, and each transaction that was answered
//     is in the database once.
//  3. Rotations without an overlap: first the password is changed in place, then the
//     old user dropped and its sessions killed, before the Secret changes. What fails
//     is counted and printed, and the app has to recover by itself.
//
// # What an app does
//
// It is the child process of the test, and has the environment of examples/app:
//
//	APP_DATABASE     mysql://HOST:PORT/app or postgres://HOST:PORT/app, without a user
//	APP_CREDENTIALS  the folder of the Secret, as /secrets/db: username, password, ..data
//	APP_ADDR         HOST:PORT to listen at, when it can be reloaded and not before
//
// It answers these with 200 when it did so, and with 500 when it could not. No client
// retries, unless the recipe has to say so (recipe.retries), and each request comes over a connection of its own.
//
//	GET /query        SELECT COUNT(*) FROM secretsync_items
//	GET /transaction  BEGIN; INSERT INTO secretsync_done VALUES (1); 100 ms without a
//	                  statement; SELECT COUNT(*) FROM secretsync_items; COMMIT
//
// It says that it has reloaded when it uses the new credentials alone and has closed
// all older connections, in one of these ways:
//
//   - notified by the webhook, it answers POST /-/reload with 2xx then and no earlier;
//   - notified by a signal, it writes the line "reloaded as USER" to its standard
//     output or error. Each of several workers (recipe.workers) writes one, and before that
//     the line "ready" when it can be reloaded;
//   - a program that can do neither has a function here that finds out
//     (recipe.reloaded).
//
// A test of a recipe is one function that calls run with a recipe; its fields say the
// rest. The sidecar finds the process by a PID file that the test writes, since other
// programs of the same name may run on the machine. A machine that lacks a program
// fails the test.
package recipes
