//go:build race

package sqlite

// raceSlow is how much slower the race detector makes SQLite. Long random runs
// are shortened by it, and nothing is measured: scripts/test runs them without.
const raceSlow = 10
