//go:build race

package main

// raceEnabled: the race detector makes SQLite ten times slower.
const raceEnabled = true
