//go:build race

package sqlite3

// raceSlow is how much slower the race detector makes SQLite: what is random and
// long is left to scripts/test to run without it.
const raceSlow = 10
