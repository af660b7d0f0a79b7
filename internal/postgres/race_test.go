//go:build race

package postgres

// raceEnabled: scripts/test runs what is long without the detector.
const raceEnabled = true
