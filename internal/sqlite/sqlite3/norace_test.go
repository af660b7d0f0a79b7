//go:build !race

package sqlite3

const raceSlow = 1
