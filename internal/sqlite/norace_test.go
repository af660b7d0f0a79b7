//go:build !race

package sqlite

const raceSlow = 1
