// Package pgtest starts private PostgreSQL clusters for tests, from the
// machine's own PostgreSQL binaries and as an account without rights. It never
// touches a running service.
//
//	dsn := pgtest.Get(t).NewDatabase(t, "CREATE TABLE article (id int PRIMARY KEY)")
//
// Get is the one cluster of a test binary; Start makes one that a test may
// stop, kill, fill or restore. Nothing stays behind, also when the test binary
// is killed: the servers hang on a pipe of its process, and end with it.
//
// Where PostgreSQL is not installed, tests are skipped; with
// CAISSEAUTO_NEED_POSTGRES=1 in the environment they fail.
package pgtest
